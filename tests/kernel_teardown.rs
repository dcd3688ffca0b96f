//! Taking a lab down: nothing of it stays, and nothing else goes. To be run as root by `scripts/sandbox cargo test`.

mod net_rig;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use nslab::desired::NetnsRole;
use nslab::kernel::net::Network;
use nslab::kernel::teardown::teardown;
use nslab::layout::Layout;

use net_rig::*;

#[test]
fn teardown_leaves_nothing_and_can_be_repeated() {
    let bench = Bench::new("t");
    let network = bench.network();
    bring_up(&network, &topology());
    drop(network);
    let report = teardown(&bench.layout);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.removed.namespaces.len(), 7);
    assert_eq!(traces(), Vec::<String>::new());
    let again = teardown(&bench.layout);
    assert!(again.is_clean() && again.removed.namespaces.is_empty(), "{again:?}");
}

#[test]
fn two_teardowns_at_once_are_as_good_as_one() {
    let bench = Bench::new("t");
    let network = bench.network();
    bring_up(&network, &topology());
    drop(network);
    let layout = &bench.layout;
    let reports = thread::scope(|scope| {
        let threads = [scope.spawn(|| teardown(layout)), scope.spawn(|| teardown(layout))];
        threads.map(|thread| thread.join().unwrap())
    });
    for report in reports {
        assert!(report.is_clean(), "{report:?}");
    }
    assert_eq!(traces(), Vec::<String>::new());
}

#[test]
fn teardown_leaves_alone_what_is_not_the_labs() {
    let bench = Bench::new("t");
    run("ip netns add t.foreign; ip link add t-foreign type bridge; echo mine > /run/netns/t.file");
    run("ln -s /run/nslab/other/netns/t.x /run/netns/t.link");
    let other = Layout::new("t2");
    let network = Network::open(&other).unwrap();
    network.add_netns("t2.w1", &netns(NetnsRole::Node)).unwrap();
    bring_up(&bench.network(), &topology());

    let report = teardown(&bench.layout);
    assert!(report.is_clean(), "{report:?}");
    let left = run("ls /run/netns");
    assert_eq!(left.split_whitespace().collect::<Vec<_>>(), ["t.file", "t.foreign", "t.link", "t2.w1"]);
    run("ip netns exec t.foreign true; ip netns exec t2.w1 true; ip link show t-foreign");
    assert_eq!(network.existing().unwrap(), ["t2.w1"]);
    drop(network);
    assert!(teardown(&other).is_clean());
    run("rm /run/netns/t.file /run/netns/t.link; ip netns del t.foreign; ip link del t-foreign");
    assert_eq!(traces(), Vec::<String>::new());
}

#[test]
fn teardown_says_who_keeps_a_namespace() {
    let bench = Bench::new("t");
    bring_up(&bench.network(), &topology());
    let mut keeper = Command::new("ip").args(["netns", "exec", "t.w1", "sleep", "1000"]).spawn().unwrap();
    wait_until(|| {
        let there = std::fs::read_link(format!("/proc/{}/exe", keeper.id()));
        there.is_ok_and(|exe| !exe.ends_with("ip"))
    });
    let report = teardown(&bench.layout);
    assert!(!report.is_clean());
    let left = format!("{:?}", report.left);
    assert!(left.contains("t.w1") && left.contains(&keeper.id().to_string()), "{left}");
    assert!(keeper.try_wait().unwrap().is_none(), "it is not the lab's to kill");
    keeper.kill().unwrap();
    keeper.wait().unwrap();
}

#[test]
fn a_copy_of_the_machines_mounts_holds_nothing_back() {
    let bench = Bench::new("t");
    run("mount --make-shared /run");
    bring_up(&bench.network(), &topology());
    // As systemd does for a service with PrivateTmp.
    let copier = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        run("mount --make-rslave /");
        thread::park();
        std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap()
    });
    wait_until(|| {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let copies = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("mountinfo")).ok());
        copies.filter(|mounts| mounts.contains("/run/nslab/t/netns") && mounts.contains("master:")).count() >= 1
    });
    let report = teardown(&bench.layout);
    assert!(report.is_clean(), "{report:?}");
    copier.thread().unpark();
    let mounts = copier.join().unwrap();
    assert!(!mounts.contains("/run/nslab/t/netns"), "{mounts}");
    run("mount --make-private /run");
}

#[test]
fn teardown_keeps_volume_data_and_says_where() {
    let bench = Bench::new("t");
    bring_up(&bench.network(), &topology());
    let root: PathBuf = bench.layout.node_root("w1");
    std::fs::create_dir_all(root.join("data")).unwrap();
    std::fs::write(root.join("data/file"), "mine").unwrap();
    std::fs::create_dir_all(bench.layout.node_root("w2").join("empty")).unwrap();
    std::fs::create_dir_all(bench.layout.pod_logs("default", "a", "1")).unwrap();
    std::fs::write(bench.layout.store(), "log").unwrap();
    let report = teardown(&bench.layout);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.kept, std::slice::from_ref(&root));
    assert_eq!(std::fs::read_to_string(root.join("data/file")).unwrap(), "mine");
    assert_eq!(run("cd /var/lib/nslab && find . -type f"), "./t/nodes/w1/root/data/file\n");
    nslab::kernel::teardown::remove_volumes(&bench.layout).unwrap();
    assert_eq!(traces(), Vec::<String>::new());
}

#[test]
fn teardown_ends_the_nodes_that_are_still_the_recorded_ones() {
    let bench = Bench::new("t");
    bring_up(&bench.network(), &topology());
    // A node as its runtime would make it: the first process of a pid namespace, with another one in it.
    let node = Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child", "sh", "-c", "sleep 1000 & wait"])
        .spawn()
        .unwrap();
    let children = format!("/proc/{0}/task/{0}/children", node.id());
    let child = |of: &str| {
        std::fs::read_to_string(of).ok().and_then(|pids| pids.split_whitespace().next()?.parse::<u32>().ok())
    };
    wait_until(|| child(&children).is_some_and(|init| child(&format!("/proc/{init}/task/{init}/children")).is_some()));
    let init = child(&children).unwrap();
    let sleeper = child(&format!("/proc/{init}/task/{init}/children")).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{init}/stat")).unwrap();
    let started = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().to_string();
    // Another process that has come to the number of a node that ended long ago.
    let mut innocent = Command::new("sleep").arg("1000").spawn().unwrap();
    for (name, record) in [
        ("w1", format!("{init} {started}\n")),
        ("w2", format!("{} 1\n", innocent.id())),
        ("w3", format!("{init}")),
        ("w4", "4194304 7\n".to_string()),
    ] {
        let directory = bench.layout.node_run(name);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("pid"), record).unwrap();
    }
    let report = teardown(&bench.layout);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.removed.nodes, ["w1"]);
    assert!(!Path::new(&format!("/proc/{sleeper}")).exists());
    assert!(innocent.try_wait().unwrap().is_none(), "it is not the lab's to kill");
    for mut process in [node, innocent] {
        let _ = process.kill();
        process.wait().unwrap();
    }
    assert_eq!(traces(), Vec::<String>::new());
}

#[test]
fn teardown_unmounts_what_stands_in_the_labs_directories_and_nothing_behind_it() {
    let bench = Bench::new("t");
    bring_up(&bench.network(), &topology());
    std::fs::create_dir_all("/run/precious").unwrap();
    std::fs::write("/run/precious/file", "mine").unwrap();
    let target = bench.layout.node_root("w1").join("with blank");
    std::fs::create_dir_all(&target).unwrap();
    run(&format!("mount --bind /run/precious '{}'", target.display()));
    run(
        "mkdir /run/nslab/t/x && mount -t tmpfs x /run/nslab/t/x && mkdir /run/nslab/t/x/y && mount -t tmpfs y /run/nslab/t/x/y",
    );
    let report = teardown(&bench.layout);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.removed.mounts, 3);
    assert_eq!(std::fs::read_to_string("/run/precious/file").unwrap(), "mine");
    run("rm -r /run/precious");
    assert_eq!(traces(), Vec::<String>::new());
}
