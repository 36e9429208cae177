//! Two hosts with a network between them: a namespace of its own for the other host, a thin link, a link that is cut and
//! healed, a host that is killed. Needs root, iproute2 and network namespaces; skipped aloud without.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::hosts::{ask, config, unready, until_ready};
use crate::keys;
use crate::support::server::{BINARY, Server};
use crate::support::until;

/// A namespace and the link to it. Gone when dropped.
struct Network {
    namespace: String,
    /// This side's end of the link.
    link: String,
    addresses: [String; 2],
}

fn run(line: &str) -> Result<(), String> {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().expect("a program"));
    let output = command.args(words).output();
    let output = output.map_err(|error| format!("{line}: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{line}: {}", told.trim())),
    }
}

impl Network {
    /// Returns `None`, and says why, where this machine does not let a test make one.
    fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let process = std::process::id();
        let own = format!("{process}x{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let network = Self {
            namespace: format!("bf{own}"),
            link: format!("bf{own}"),
            // Of 198.18.0.0/15, which is for tests of networks.
            addresses: [1, 2].map(|side| {
                let subnet = process % 63 * 4 + side;
                format!("198.18.{}.{subnet}", process / 63 % 250)
            }),
        };
        match network.make() {
            Ok(()) => Some(network),
            Err(cause) => {
                println!("skipped: no network of two hosts can be made here: {cause}");
                None
            }
        }
    }

    fn make(&self) -> Result<(), String> {
        let Self {
            namespace,
            link,
            addresses: [here, there],
        } = self;
        run(&format!("ip netns add {namespace}"))?;
        run(&format!(
            "ip link add {link} type veth peer name far netns {namespace}"
        ))?;
        run(&format!("ip addr add {here}/30 dev {link}"))?;
        run(&format!("ip link set {link} up"))?;
        self.there(&format!("ip addr add {there}/30 dev far"))?;
        self.there("ip link set far up")?;
        self.there("ip link set lo up")
    }

    fn there(&self, line: &str) -> Result<(), String> {
        run(&format!("ip netns exec {} {line}", self.namespace))
    }

    /// Lets so much through, both ways, and each packet only after a while, where the kernel can.
    fn limit(&self, megabits: u32, delay_ms: u32) {
        let thin = format!("tbf rate {megabits}mbit burst 64kb latency 400ms");
        run(&format!("tc qdisc add dev {} root {thin}", self.link)).unwrap();
        let slow = format!("tc qdisc add dev far root handle 1: netem delay {delay_ms}ms");
        match self.there(&slow) {
            Ok(()) => self
                .there(&format!("tc qdisc add dev far parent 1: {thin}"))
                .unwrap(),
            Err(cause) => {
                println!("skipped: no latency, as this kernel has none to give: {cause}");
                self.there(&format!("tc qdisc add dev far root {thin}"))
                    .unwrap();
            }
        }
    }

    fn set(&self, state: &str) {
        run(&format!("ip link set {} {state}", self.link)).unwrap();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What was not made cannot be removed.
        let _ = run(&format!("ip link del {}", self.link));
        let _ = run(&format!("ip netns del {}", self.namespace));
    }
}

/// Both hosts, with keys.
struct Apart {
    network: Network,
    directory: tempfile::TempDir,
}

impl Apart {
    /// Its tensors have so many bytes.
    fn new(bytes: usize) -> Option<Self> {
        let network = Network::new()?;
        let directory = tempfile::tempdir().unwrap();
        let [front, back] = &network.addresses;
        let mut text = config(front, back).replace("[1, 4]", &format!("[1, {bytes}]"));
        for name in ["front", "back"] {
            let key = keys::make(&directory.path().join(format!("{name}.key")));
            let header = format!("[hosts.{name}]\n");
            text = text.replace(&header, &format!("{header}key = '{key}'\n"));
        }
        fs::write(directory.path().join("blocks.toml"), text).unwrap();
        Some(Self { network, directory })
    }

    fn start(&self, host: &str, command: Command) -> Server {
        let key = self.directory.path().join(format!("{host}.key"));
        let arguments = ["--host", host, "--key-file", key.to_str().unwrap()];
        let config = self.directory.path().join("blocks.toml");
        Server::try_start(command, &config, &arguments).unwrap_or_else(|told| panic!("{told}"))
    }

    fn front(&self) -> Server {
        self.start("front", Command::new(BINARY))
    }

    fn back(&self) -> Server {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.network.namespace, BINARY]);
        self.start("back", command)
    }
}

#[test]
fn hosts_answer_over_a_thin_and_slow_link() {
    const BYTES: usize = 200_000;
    let Some(apart) = Apart::new(BYTES) else {
        return;
    };
    apart.network.limit(100, 20);
    let _back = apart.back();
    let front = apart.front();
    until_ready(&front);
    thread::scope(|scope| {
        for value in 0..4 {
            let front = &front;
            scope.spawn(move || {
                for round in 0..5 {
                    let value = value * 10 + round;
                    let response = front.infer("away", "x", "UINT8", &[1, BYTES], &[value; BYTES]);
                    assert_eq!(response.status, 200, "{}", response.text());
                    assert!(response.binary() == [value + 3; BYTES]);
                }
            });
        }
    });
}

#[test]
fn hosts_survive_a_cut_network_and_each_others_death() {
    let Some(apart) = Apart::new(4) else {
        return;
    };
    let mut back = apart.back();
    let front = apart.front();
    until_ready(&front);
    assert_eq!(ask(&front, "away", 1), (200, true));
    for cut in 0..2 {
        apart.network.set("down");
        thread::scope(|scope| {
            // Sent into the void, and again when the silence is noticed.
            let asked: Vec<_> = (0..4)
                .map(|value| {
                    scope.spawn({
                        let front = &front;
                        move || ask(front, "away", value)
                    })
                })
                .collect();
            assert_eq!(ask(&front, "home", 1), (200, true));
            let told = unready(&front, "was lost");
            assert!(told.contains("host \\\"back\\\""), "{told}");
            if cut == 1 {
                // What comes back is not what was there before.
                back.signal("KILL");
                back.wait();
            }
            apart.network.set("up");
            if cut == 1 {
                back = apart.back();
            }
            for one in asked {
                assert_eq!(one.join().unwrap(), (200, true));
            }
        });
        until_ready(&front);
        assert_eq!(ask(&front, "away", 9), (200, true));
    }
    drop(front);
    let front = apart.front();
    until("another gateway finds the host", || {
        ask(&front, "away", 2) == (200, true)
    });
}
