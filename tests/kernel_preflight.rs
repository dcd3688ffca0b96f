//! Examining a machine: what it finds on the sandbox's. To be run as root by `scripts/sandbox cargo test`.

mod net_rig;

use std::thread;

use nslab::kernel::preflight::{self, Finding, Level, Subnet, Wanted};
use nslab::layout::Layout;

use net_rig::*;

fn preflight(bench: &Bench, host: bool) -> Vec<Finding> {
    let subnet = |role, field, text: &str| Subnet { net: net(text), role, field };
    let subnets = vec![subnet("LAN", "lanSubnet", "192.168.1.0/24"), subnet("pod", "podSubnet", "10.244.0.0/16")];
    preflight::check(&bench.layout, &Wanted { subnets, host, nodes: 2, pods: 3 })
}

#[test]
fn preflight_finds_nothing_on_a_machine_that_is_fit_even_with_the_lab_up() {
    let bench = Bench::new("t");
    assert_eq!(preflight(&bench, true), []);
    bring_up(&bench.network(), &topology());
    // As its supervisor does.
    let lock = std::fs::File::create(bench.layout.supervisor_lock()).unwrap();
    lock.lock().unwrap();
    assert_eq!(preflight(&bench, true), []);
    drop(lock);
    // A lab without one is found by whoever asks, for whichever lab.
    let findings = preflight(&bench, true);
    assert!(findings[0].what.contains("lab \"t\" has no supervisor") && findings.len() == 1, "{findings:?}");
    // Another lab would want the same subnet of the same machine.
    let other = Layout::new("t2");
    let subnets = vec![Subnet { net: net("192.168.1.0/24"), role: "LAN", field: "lanSubnet" }];
    let findings = preflight::check(&other, &Wanted { subnets, host: true, nodes: 2, pods: 3 });
    assert!(findings[0].why.contains("nslab-t") && findings[0].level == Level::Error, "{findings:?}");
    // Nobody holds the lock that this lab's supervisor would.
    assert!(findings[1].what.contains("\"t\"") && findings[1].fix.contains("lab down --name t"), "{findings:?}");
    assert_eq!(findings.len(), 2);
}

#[test]
fn preflight_finds_clashes_and_leftovers() {
    let bench = Bench::new("t");
    run("ip link add up0 type bridge; ip link set up0 up; ip addr add 10.244.7.1/32 dev up0");
    run(
        "ip route add 192.168.0.0/16 via 10.244.7.2 dev up0 onlink; ip route add default via 10.244.7.2 dev up0 onlink",
    );
    run("ln -s /run/nslab/gone/netns/gone.w1 /run/netns/gone.w1");
    let findings = preflight(&bench, true);
    let found: Vec<(&str, &str)> = findings.iter().map(|f| (f.what.as_str(), f.why.as_str())).collect();
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].1.contains("route 192.168.0.0/16 via 10.244.7.2 dev up0"), "{found:?}");
    assert!(found[1].1.contains("address 10.244.7.1/32 of up0"), "{found:?}");
    assert!(found[2].0.contains("/run/netns/gone.w1"), "{found:?}");
    let apart = preflight(&bench, false);
    assert_eq!(apart.len(), 1, "{apart:?}");
    run("ip link del up0; rm /run/netns/gone.w1");

    let denied = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            drop_capabilities();
            preflight(&bench, true)
        });
        thread.join().unwrap()
    });
    assert!(denied[0].what.contains("CAP_NET_ADMIN") && denied[0].level == Level::Error, "{denied:?}");
}
