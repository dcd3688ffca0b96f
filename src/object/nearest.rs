//! "Did you mean ...?": the one place that decides when two names are near enough for a suggestion.

/// How alike two names must be: 1 is equal, 0 has nothing in common.
const NEAR_ENOUGH: f64 = 0.6;

/// Names that are shorter than this are alike too often.
const SHORTEST_SLIP: usize = 4;

/// A shorter name is the start of too many others to be a hint.
const SHORTEST_PREFIX: usize = 3;

/// The candidate that `wanted` was most likely meant to be, if any is near. Of equally near ones the first.
///
/// Case is no difference, swapped neighbours are one error, and a name that was left unfinished (`nodejs-ingress` for
/// `nodejs-ingress.yaml`) is near to what it begins.
pub fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates {
        let likeness = likeness(&wanted, &candidate.to_lowercase());
        if likeness >= NEAR_ENOUGH && best.is_none_or(|(most, _)| likeness > most) {
            best = Some((likeness, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Whether one name may have been typed for the other: one error apart, and not in a digit, by which people tell names
/// apart.
pub fn is_slip_of(one: &str, other: &str) -> bool {
    let without_digits = |name: &str| name.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    let length = one.chars().count().min(other.chars().count());
    length >= SHORTEST_SLIP
        && strsim::damerau_levenshtein(one, other) == 1
        && without_digits(one) != without_digits(other)
}

fn likeness(wanted: &str, candidate: &str) -> f64 {
    let likeness = strsim::normalized_damerau_levenshtein(wanted, candidate);
    let unfinished = wanted.chars().count() >= SHORTEST_PREFIX && candidate.starts_with(wanted);
    if unfinished { likeness.max(NEAR_ENOUGH) } else { likeness }
}

#[cfg(test)]
mod tests {
    use super::{is_slip_of, nearest};

    #[test]
    fn slips_of_the_finger() {
        for (one, other, expected) in [
            ("hname-svc-default", "hname-svx-default", true),
            ("front", "fornt", true),
            ("front", "fronts", true),
            ("front", "front", false),
            ("web-1", "web-2", false),
            ("np-svc", "np-svc-v2", false),
            ("web", "wbe", false),
            ("back-end", "back-end2", false),
        ] {
            assert_eq!(is_slip_of(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn typing_errors_find_what_was_meant() {
        for (wanted, candidates, expected) in [
            ("images", &["image", "port", "replicas"][..], "image"),
            ("kueectl", &["lab", "kubectl"], "kubectl"),
            ("hname-svc-default", &["ip-svc", "hname-svx-default"], "hname-svx-default"),
            ("nodejs-ingress", &["mysql.yaml", "nodejs.yaml", "nodejs-ingress.yaml"], "nodejs-ingress.yaml"),
            ("BookInfra", &["_Book_k8sInfra", "Documents"], "_Book_k8sInfra"),
            ("contianers", &["initContainers", "containers"], "containers"),
            ("NODEPORT", &["port", "nodePort"], "nodePort"),
            ("dep", &["replicasets", "deployments"], "deployments"),
        ] {
            assert_eq!(nearest(wanted, candidates.iter().copied()), Some(expected), "{wanted}");
        }
    }

    #[test]
    fn what_is_not_near_is_not_suggested() {
        for (wanted, candidates) in [
            ("np-pods", &["np-svc"][..]),
            ("web", &["db", "cache"]),
            ("x", &["y", "xylophone"]),
            ("", &["a"]),
            ("a", &[]),
        ] {
            assert_eq!(nearest(wanted, candidates.iter().copied()), None, "{wanted}");
        }
    }

    #[test]
    fn the_first_of_equally_near_names_wins() {
        assert_eq!(nearest("web-3", ["web-1", "web-2"]), Some("web-1"));
    }
}
