//! A newcomer's way to a closed cluster: two bare machines, three commands and a copied file.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use broadsweep_executor::command::LISTENING;
use broadsweep_tests::lab::{Lab, tiny_with};
use broadsweep_tests::network::{Machine, Switch};
use broadsweep_tests::outcome::Outcome;
use broadsweep_tests::process::Process;
use broadsweep_tests::skip::skip;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

/// `broadsweep WORDS` as somebody types it there, in a home folder of that machine, with nothing set up.
fn typed(machine: &Machine, home: &Path, words: &[&OsStr]) -> Process {
    let [ip, prefix @ ..] = machine.prefix();
    let mut command = Command::new(ip);
    command.args(prefix).arg(PROGRAM).args(words).current_dir(home);
    for place in ["XDG_CONFIG_HOME", "XDG_CACHE_HOME", "RUST_LOG"] {
        command.env_remove(place);
    }
    Process::start(command.env("HOME", home))
}

fn words(line: &str) -> Vec<&OsStr> {
    line.split_whitespace().map(OsStr::new).collect()
}

#[test]
fn three_commands_and_one_copied_file_lead_from_two_bare_machines_to_a_finished_study() {
    let switch = match Switch::new(2, "1gbit") {
        Ok(switch) => switch,
        Err(why) => return skip(&format!("there can be no network of several machines here: {why}")),
    };
    let lab = Lab::new(PROGRAM);
    let [own, node] = switch.machines() else { panic!("two machines") };
    let homes = ["driver", "node"].map(|name| lab.path(name));
    let [own_home, node_home] = &homes;
    for home in &homes {
        fs::create_dir(home).unwrap();
    }
    fs::write(own_home.join("study.toml"), tiny_with(&[("epochs = 12", "epochs = 1")])).unwrap();
    fs::write(own_home.join("nodes.txt"), &node.address).unwrap();

    let made = typed(own, own_home, &words("cluster init --nodes nodes.txt")).wait();
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let file = format!("{}.pem", node.address);
    assert!(made.stdout.contains(&file), "{}", made.stdout);
    fs::copy(own_home.join("cluster/nodes").join(&file), node_home.join(&file)).unwrap();

    let executor = typed(node, node_home, &words(&format!("executor --listen 0.0.0.0:7717 --identity {file}")));
    let _ = executor.line_with(LISTENING);

    let tuned = typed(own, own_home, &words("tune study.toml --nodes nodes.txt --out run")).wait();
    assert_eq!(tuned.code, Some(0), "{}", tuned.stderr);
    let outcome = Outcome::read(&own_home.join("run"));
    assert_eq!(outcome.number("/trials/finished"), outcome.number("/trials/planned"));
    assert_eq!(executor.cut_off().stderr.matches("WARN").count(), 0);

    // Nobody else gets in: the same driver in another home has no identity.
    let executor = typed(node, node_home, &words(&format!("executor --listen 0.0.0.0:7717 --identity {file}")));
    let _ = executor.line_with(LISTENING);
    fs::remove_dir_all(own_home.join(".config")).unwrap();
    let refused = typed(own, own_home, &words("tune study.toml --nodes nodes.txt --out stranger")).wait();
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    let reason = "does not let this driver in: it lets in only whom it knows; name your identity with --identity";
    assert!(refused.stderr.contains(reason), "{}", refused.stderr);
}
