//! What is left when processes of the lab are killed at random moments: nothing, once `lab down` has run; and a lab that
//! works, once `lab up` has.

mod lab_rig;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lab_rig::{Lab, Standing, http, http_names, nothing_is_left};

const MOMENTS: u32 = 50;

/// A small generator, so that a failure can be repeated from the seed in its message.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// The lab's processes by what they are.
fn pids(kind: &str) -> Vec<i32> {
    let pattern = match kind {
        "supervisor" => "__supervise",
        "node" => "__node",
        _ => "echo-hname",
    };
    let out = Command::new("ps").args(["-eo", "pid,args"]).output().expect("run ps");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let ours = text.lines().filter(|line| line.contains(pattern) && !line.contains(" ps "));
    ours.filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
}

fn kill(pid: i32) {
    let _ = Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
}

fn up_in_background() -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.args(["up", "labs/nodeport"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("run lab up")
}

#[test]
fn killed_at_any_moment_down_leaves_nothing() {
    let lab = Lab::nothing_yet();
    let seed = 0x5eed_0001_u64;
    let mut random = Random(seed);
    for moment in 0..MOMENTS {
        let context = format!("moment {moment} of seed {seed:#x}");
        let mut up = up_in_background();
        let until = Instant::now() + Duration::from_millis(random.below(400));
        while Instant::now() < until {
            std::thread::yield_now();
        }
        let victim = ["up", "supervisor", "node", "pod"][random.below(4) as usize];
        if victim == "up" {
            up.kill().expect("kill lab up");
        } else {
            let pids = pids(victim);
            if !pids.is_empty() {
                kill(pids[random.below(pids.len() as u64) as usize]);
            }
        }
        // Whatever it is doing now, `down` must not have to wait for it.
        let _ = up.kill();
        up.wait().expect("reap lab up");
        let down = lab.lab("down --volumes");
        assert_eq!(down.code, 0, "{context}, {victim} killed: {down:#?}");
        nothing_is_left();
    }
    // And the lab works as if nothing had been.
    lab.run("lab", &["up", "labs/nodeport"]).ok();
    assert!(http("192.168.1.101:30000", "/").starts_with("np-pods-"));
    lab.down();
}

/// Connections that stand and connections that come survive the supervisor; the next `up` takes over.
#[test]
fn the_supervisor_dies_and_traffic_goes_on() {
    let lab = Lab::nothing_yet();
    lab.run("lab", &["up", "labs/nodeport"]).ok();
    lab.kubectl("scale deployment np-pods --replicas=3").ok();
    lab.wait_ready();
    let pods = lab.kubectl("get pods -o name").ok().stdout;
    let mut standing = Standing::connect("192.168.1.101:30000");
    let served_by = standing.ask();
    for pid in pids("supervisor") {
        kill(pid);
    }
    assert_eq!(http_names("192.168.1.102:30000", 60).len(), 3, "without a supervisor");
    lab.kubectl("get pods").fails().has("sudo lab up");
    assert_eq!(standing.ask(), served_by, "a standing connection, without a supervisor");
    // The manifest says one pod, as before the scaling: it is not to be scaled by this.
    lab.run("lab", &["up"]).ok();
    assert_eq!(standing.ask(), served_by, "a standing connection, with the next supervisor");
    let after = lab.kubectl("get pods -o jsonpath={.items[*].status.containerStatuses[0].restartCount}").ok();
    assert_eq!(after.stdout.split(' ').filter(|count| *count != "0").count(), 0, "taken over, not restarted");
    let now = lab.kubectl("get pods -o name").ok().stdout;
    assert!(now.lines().all(|pod| pods.contains(pod)), "{pods} became {now}");
    lab.down();
}

/// A pod's process that dies is started again; a node that dies comes back with its pods.
#[test]
fn killed_processes_come_back() {
    let lab = Lab::nothing_yet();
    lab.run("lab", &["up", "labs/nodeport"]).ok();
    let restarts = "get pods -o jsonpath={.items[0].status.containerStatuses[0].restartCount}";
    for (round, victim) in ["pod", "node"].into_iter().enumerate() {
        for pid in pids(victim) {
            kill(pid);
        }
        let context = format!("after the death of every {victim}");
        let until = Instant::now() + Duration::from_secs(20);
        while lab.kubectl(restarts).ok().stdout != (round + 1).to_string() {
            assert!(Instant::now() < until, "{context}: {:#?}", lab.lab("status"));
        }
        lab.wait_ready();
        assert!(http("192.168.1.103:30000", "/").starts_with("np-pods-"), "{context}");
    }
    lab.down();
}
