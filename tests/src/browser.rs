//! Debian's Chromium without a window, and without a network: what it makes of a page, and pictures of it.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the browser is called.
const CHROMIUM: &str = "chromium";
/// Simulated time that a page has to draw itself in; as much real time passes as it takes.
const BUDGET: &str = "--virtual-time-budget=60000";

/// What a browser made of a page.
#[derive(Debug)]
pub struct Seen {
    /// The document at the end, as HTML.
    pub document: String,
    /// What the page, or the browser about the page, said on the console.
    pub console: Vec<String>,
}

/// A browser that can be started.
#[derive(Clone, Copy, Debug)]
pub struct Browser {
    /// Whether it runs in a network namespace of its own, where there is nothing.
    is_cut_off: bool,
}

impl Browser {
    /// The browser of this machine; why there is none.
    ///
    /// # Errors
    /// The reason, for people.
    pub fn find() -> Result<Self, String> {
        let runs = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            let quiet = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
            quiet.status().is_ok_and(|status| status.success())
        };
        if !runs(CHROMIUM, &["--version"]) {
            return Err(format!("{CHROMIUM} is not installed here"));
        }
        Ok(Self { is_cut_off: runs("unshare", &["--net", "true"]) })
    }

    /// Opens the page and says what came of it.
    #[must_use]
    pub fn open(&self, page: &Path) -> Seen {
        let ended = self.run(page, ["--dump-dom"]);
        let said = String::from_utf8_lossy(&ended.stderr);
        let console = said.lines().filter(|line| is_of_a_page(line)).map(str::to_owned).collect();
        assert!(ended.status.success(), "{}: {said}", page.display());
        Seen { document: String::from_utf8(ended.stdout).unwrap(), console }
    }

    /// Takes a picture of the page in a window of so many pixels.
    pub fn picture(&self, page: &Path, to: &Path, (width, height): (u32, u32), is_dark: bool) {
        let mut flags = vec![format!("--screenshot={}", to.display()), format!("--window-size={width},{height}")];
        flags.push("--hide-scrollbars".to_owned());
        if is_dark {
            flags.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        let ended = self.run(page, flags);
        assert!(ended.status.success() && to.is_file(), "{}", String::from_utf8_lossy(&ended.stderr));
    }

    fn run<F: AsRef<OsStr>>(self, page: &Path, flags: impl IntoIterator<Item = F>) -> std::process::Output {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new(if self.is_cut_off { "unshare" } else { CHROMIUM });
        if self.is_cut_off {
            command.args(["--net", CHROMIUM]);
        }
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        // No name leads anywhere, should there be a network after all.
        command.args(["--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", BUDGET]);
        command.arg(format!("--user-data-dir={}", profile.path().display())).env("HOME", profile.path());
        let page = fs::canonicalize(page).unwrap();
        let ended = command.args(flags).arg(format!("file://{}", page.display())).output().unwrap();
        drop(profile);
        ended
    }
}

/// Whether a line of the browser's log is what a page said, or what was said about one: the browser's own windows are
/// pages too, and complain of slow networks.
fn is_of_a_page(line: &str) -> bool {
    line.contains(":CONSOLE") && !line.contains("source: chrome://")
}

#[cfg(test)]
mod tests {
    use super::is_of_a_page;

    #[test]
    fn only_what_pages_say_counts() {
        let own = "[1:1:1129/085309.4:INFO:CONSOLE:574] \"Slow network\", source: chrome://resources/a.js (574)";
        let page = "[1:1:1129/085309.4:INFO:CONSOLE:3] \"Uncaught TypeError\", source: file:///tmp/a.html (3)";
        assert_eq!([own, page, "DevTools listening"].map(is_of_a_page), [false, true, false]);
    }
}
