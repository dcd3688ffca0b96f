//! From facts to findings.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Facts, Finding, Leftover, Level, Limits, Privilege, Subnet, Wanted};

pub fn judge(facts: &Facts, wanted: &Wanted) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(privilege(facts.privilege));
    findings.extend(facts.missing.iter().map(|missing| Finding {
        level: Level::Error,
        what: format!("the kernel lacks {}", missing.what),
        why: format!("{} need it; an attempt gave: {}", missing.purpose, missing.error),
        fix: format!("modprobe -a {0}   (or boot a kernel that has {0})", missing.modules),
    }));
    if let Some((why, fix)) = facts.no_ipv6.filter(|_| wanted.subnets.iter().any(|subnet| !is_v4(&subnet.net))) {
        findings.push(Finding {
            level: Level::Error,
            what: "this machine has no IPv6".to_string(),
            why: format!("the lab has IPv6 subnets, and {why}"),
            fix: format!("{fix}   (or leave IPv6 out of the Lab document's networking)"),
        });
    }
    if wanted.host {
        findings.extend(wanted.subnets.iter().filter_map(|subnet| clash(subnet, facts, wanted)));
    }
    findings.extend(limits(&facts.limits, wanted));
    findings.extend(facts.leftovers.iter().map(leftover));
    findings.extend(facts.unknown.iter().map(|error| Finding {
        level: Level::Warning,
        what: "a part of the examination failed".to_string(),
        why: error.clone(),
        fix: "run it again as root".to_string(),
    }));
    findings
}

fn privilege(privilege: Privilege) -> Option<Finding> {
    let (what, fix) = match privilege {
        Privilege::Full => return None,
        Privilege::None => ("this is not root".to_string(), "run it again with sudo".to_string()),
        Privilege::Without(capability) => (
            format!("this root lacks {capability}"),
            "run it outside the container, or in one with all privileges (`docker run --privileged`)".to_string(),
        ),
    };
    let why = "a lab is made of network namespaces, mounts and processes, which only root may make";
    Some(Finding { level: Level::Error, what, why: why.to_string(), fix })
}

fn clash(subnet: &Subnet, facts: &Facts, wanted: &Wanted) -> Option<Finding> {
    let clashing: Vec<&str> =
        facts.used.iter().filter(|(used, _)| overlap(used, &subnet.net)).map(|(_, words)| words.as_str()).collect();
    if clashing.is_empty() {
        return None;
    }
    let instead = free_subnet(subnet, facts, wanted).map_or("ANOTHER SUBNET".to_string(), |net| net.to_string());
    // The subnet of the other family, which stands in the same field, stays.
    let field = wanted.subnets.iter().filter(|other| other.field == subnet.field);
    let instead: Vec<String> =
        field.map(|other| if other.net == subnet.net { instead.clone() } else { other.net.to_string() }).collect();
    let instead = instead.join(",");
    Some(Finding {
        level: Level::Error,
        what: format!("the {} subnet {} is in use on this machine", subnet.role, subnet.net),
        why: format!("it clashes with {}", clashing.join(", ")),
        fix: format!(
            "keep this machine off the lab's LAN (`lab up --no-host`), or choose another subnet in a Lab document:\n\
             apiVersion: nslab.dev/v1alpha1\nkind: Lab\nnetworking:\n  {}: {instead}",
            subnet.field
        ),
    })
}

fn is_v4(net: &IpNet) -> bool {
    net.addr().is_ipv4()
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// A private subnet of the same size that neither the machine nor the lab uses.
fn free_subnet(subnet: &Subnet, facts: &Facts, wanted: &Wanted) -> Option<IpNet> {
    let private = [
        Ipv4Net::new(Ipv4Addr::new(192, 168, 0, 0), 16),
        Ipv4Net::new(Ipv4Addr::new(172, 16, 0, 0), 12),
        Ipv4Net::new(Ipv4Addr::new(10, 0, 0, 0), 8),
    ];
    // RFC 4193.
    let local = Ipv6Net::new(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0), 16);
    let private = private.into_iter().flatten().map(IpNet::V4).chain(local.into_iter().map(IpNet::V6));
    let same_family = private.filter(|net| is_v4(net) == is_v4(&subnet.net));
    let fitting = same_family.filter_map(|net| net.subnets(subnet.net.prefix_len()).ok());
    let others = wanted.subnets.iter().map(|other| &other.net);
    let taken: Vec<&IpNet> = facts.used.iter().map(|(used, _)| used).chain(others).collect();
    // Far more than a machine has routes; a /30 would otherwise mean to try millions.
    let mut candidates = fitting.flatten().take(1 << 16);
    candidates.find(|candidate| !taken.iter().any(|taken| overlap(taken, candidate)))
}

fn limits(limits: &Limits, wanted: &Wanted) -> Vec<Finding> {
    let (nodes, pods) = (wanted.nodes as u64, wanted.pods as u64);
    let machines = nodes + 2;
    let mut findings = Vec::new();
    let mut demand = |limit: Option<u64>, need: u64, level, what: &str, consequence: &str, fix: String| {
        if let Some(limit) = limit.filter(|limit| *limit < need) {
            findings.push(Finding {
                level,
                what: format!("this machine allows {limit} {what}"),
                why: format!("a lab of {pods} pods on {nodes} nodes takes about {need}; {consequence}"),
                fix,
            });
        }
    };
    let sysctl = |name: &str, need: u64| format!("sysctl -w {name}={need}");
    let files = 256 + 8 * pods;
    let fix = format!("ulimit -Hn {files}   (for a service: LimitNOFILE={files})");
    demand(limits.open_files, files, Level::Error, "open files a process", "the supervisor will fail", fix);
    let spaces = machines + pods + 8;
    let fix = sysctl("user.max_net_namespaces", spaces);
    demand(limits.net_namespaces, spaces, Level::Error, "network namespaces", "making more fails", fix);
    let processes = 512 + 8 * (nodes + pods);
    let fix = sysctl("kernel.pid_max", processes);
    demand(limits.processes, processes, Level::Warning, "processes and threads", "starting more fails", fix);
    // Each pod and its node know each other; each machine of the LAN knows every other.
    let neighbours = 2 * pods + machines * machines;
    let fix = sysctl("net.ipv4.neigh.default.gc_thresh3", neighbours.next_power_of_two());
    let consequence = "beyond that, connections fail with \"neighbour table overflow\" in the kernel's log";
    demand(limits.neighbours, neighbours, Level::Warning, "neighbours, in all its namespaces", consequence, fix);
    let instances = 64 + pods;
    let fix = sysctl("fs.inotify.max_user_instances", instances);
    let consequence = "programs that watch files may fail to start";
    demand(limits.inotify_instances, instances, Level::Warning, "inotify instances a user", consequence, fix);
    let watches = 4096 + 16 * pods;
    let fix = sysctl("fs.inotify.max_user_watches", watches);
    demand(limits.inotify_watches, watches, Level::Warning, "inotify watches a user", consequence, fix);
    findings
}

fn leftover(leftover: &Leftover) -> Finding {
    let (what, why, fix) = match leftover {
        Leftover::Lab(lab) => (
            format!("lab \"{lab}\" has no supervisor"),
            "it was killed; the lab's pods run on, but nothing follows changes".to_string(),
            format!("lab up --name {lab}   (takes the lab over), or: lab down --name {lab}"),
        ),
        Leftover::Held(lab, left) => (
            format!("lab \"{lab}\" is not wholly down"),
            left.join("; "),
            format!("end what holds it, then: lab down --name {lab}"),
        ),
        Leftover::Stale(lab) => (
            format!("lab \"{lab}\" has files in /run and nothing that runs"),
            "it was stopped before it was up, or this machine was restarted with the files in place".to_string(),
            format!("lab up --name {lab}   (makes it of its objects), or: lab down --name {lab}"),
        ),
        Leftover::Stopped(lab) => (
            format!("lab \"{lab}\" has objects and does not run"),
            "this machine was restarted while the lab was up".to_string(),
            format!("lab up --name {lab}   (makes it again), or: lab down --name {lab}"),
        ),
        Leftover::Symlink(path) => (
            format!("{} leads to a network namespace that is gone", path.display()),
            "the lab that it was of ended without `lab down`".to_string(),
            format!("rm {}", path.display()),
        ),
        Leftover::Link(link) => (
            format!("link {link} looks like a lab's, and no lab here has it"),
            "the namespace at its other end is held by something, and the lab's files are gone".to_string(),
            format!("ip link delete {link}"),
        ),
    };
    Finding { level: Level::Warning, what, why, fix }
}

#[cfg(test)]
mod tests {
    use super::super::Missing;
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn wanted() -> Wanted {
        let subnet = |role, field, text| Subnet { net: net(text), role, field };
        Wanted {
            subnets: vec![
                subnet("LAN", "lanSubnet", "192.168.1.0/24"),
                subnet("pod", "podSubnet", "10.244.0.0/16"),
                subnet("service", "serviceSubnet", "10.96.0.0/12"),
            ],
            host: true,
            nodes: 4,
            pods: 3,
        }
    }

    fn used(routes: &[&str]) -> Facts {
        let used = routes.iter().map(|route| (net(route), format!("route {route} dev eth0"))).collect();
        Facts { used, ..Facts::default() }
    }

    #[test]
    fn a_machine_apart_is_fine() {
        assert_eq!(judge(&used(&["10.0.2.0/24", "172.17.0.0/16", "192.168.2.0/24", "fd00::/8"]), &wanted()), []);
    }

    #[test]
    fn a_clash_names_the_route_and_a_way_out() {
        for (route, role, field) in [
            ("192.168.1.128/25", "LAN", "lanSubnet"),
            ("192.168.0.0/16", "LAN", "lanSubnet"),
            ("10.244.3.7/32", "pod", "podSubnet"),
            ("10.100.0.0/16", "service", "serviceSubnet"),
        ] {
            let facts = used(&[route]);
            let findings = judge(&facts, &wanted());
            let [finding] = findings.as_slice() else { panic!("{findings:?}") };
            assert_eq!(finding.level, Level::Error);
            assert!(finding.what.contains(role) && finding.why.contains(route), "{finding:?}");
            let (_, instead) = finding.fix.rsplit_once(": ").unwrap();
            assert!(finding.fix.contains(&format!("  {field}: ")) && finding.fix.contains("--no-host"), "{finding:?}");
            // What is proposed has to be right itself.
            let mut changed = wanted();
            changed.subnets.iter_mut().filter(|s| s.field == field).for_each(|s| s.net = net(instead));
            assert_eq!(judge(&facts, &changed), []);
            assert_eq!(judge(&facts, &Wanted { host: false, ..wanted() }), []);
        }
        // One route can be in the way of two.
        assert_eq!(judge(&used(&["10.0.0.0/8"]), &wanted()).len(), 2);
    }

    #[test]
    fn each_family_is_judged_by_itself() {
        let mut both = wanted();
        let second = Subnet { net: net("fd00:192:168:1::/64"), role: "LAN", field: "lanSubnet" };
        both.subnets.insert(1, second);
        assert_eq!(judge(&used(&["fd00:192:168:2::/64", "fe80::/64"]), &both), []);
        let findings = judge(&used(&["fd00:192::/32"]), &both);
        let [finding] = findings.as_slice() else { panic!("{findings:?}") };
        assert_eq!(finding.what, "the LAN subnet fd00:192:168:1::/64 is in use on this machine");
        assert!(finding.fix.ends_with("  lanSubnet: 192.168.1.0/24,fd00::/64"), "{}", finding.fix);
        let without = Facts { no_ipv6: Some(("it is off", "switch it on")), ..Facts::default() };
        assert_eq!(judge(&without, &wanted()), []);
        let findings = judge(&without, &both);
        assert_eq!(findings[0].what, "this machine has no IPv6");
        assert_eq!(findings[0].why, "the lab has IPv6 subnets, and it is off");
    }

    #[test]
    fn when_all_private_subnets_are_taken_there_is_no_proposal() {
        let findings = judge(&used(&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]), &wanted());
        assert_eq!(findings.len(), 3);
        assert!(findings.iter().all(|finding| finding.fix.ends_with("ANOTHER SUBNET")), "{findings:?}");
    }

    #[test]
    fn limits_matter_once_a_lab_is_big() {
        let facts = Facts {
            limits: Limits {
                open_files: Some(1024),
                processes: Some(32_768),
                net_namespaces: Some(15_000),
                inotify_instances: Some(128),
                inotify_watches: Some(65_536),
                neighbours: Some(1024),
            },
            ..Facts::default()
        };
        assert_eq!(judge(&facts, &wanted()), []);
        let big = judge(&facts, &Wanted { pods: 1000, ..wanted() });
        let fixes: Vec<&str> = big.iter().map(|finding| finding.fix.split("   ").next().unwrap()).collect();
        let wanted = [
            "ulimit -Hn 8256",
            "sysctl -w net.ipv4.neigh.default.gc_thresh3=2048",
            "sysctl -w fs.inotify.max_user_instances=1064",
        ];
        assert_eq!(fixes, wanted);
    }

    #[test]
    fn every_finding_has_a_reason_and_a_fix() {
        let missing = Missing { what: "veth", purpose: "cables", modules: "veth", error: "EOPNOTSUPP".into() };
        let facts = Facts {
            privilege: Privilege::Without("CAP_SYS_ADMIN"),
            missing: vec![missing],
            leftovers: vec![
                Leftover::Lab("a".into()),
                Leftover::Held("b".into(), vec!["network namespace b.w1: it is held".into()]),
                Leftover::Stale("c".into()),
                Leftover::Stopped("d".into()),
                Leftover::Symlink("/run/netns/a.b".into()),
                Leftover::Link("lan-e".into()),
            ],
            unknown: vec!["cannot list routes".into()],
            ..Facts::default()
        };
        let findings = judge(&facts, &wanted());
        assert_eq!(findings.len(), 9);
        assert!(findings.iter().all(|f| ![&f.what, &f.why, &f.fix].iter().any(|text| text.is_empty())), "{findings:?}");
        let fixes: Vec<&str> = findings.iter().map(|finding| finding.fix.as_str()).collect();
        assert!(fixes.iter().any(|fix| fix.starts_with("modprobe -a veth")), "{fixes:?}");
        assert!(fixes.contains(&"rm /run/netns/a.b"), "{fixes:?}");
    }
}
