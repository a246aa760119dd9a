//! Commands that messages tell people to type: with the words quoted for a shell, so that they can be copied.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use broadsweep_common::ids::AttemptId;

/// Goes on with a run.
pub(super) fn resume(run: &Path) -> String {
    of(&["resume"], run, &[])
}

/// Says how far a run is.
pub(super) fn status(run: &Path) -> String {
    of(&["status"], run, &[])
}

/// Shows what a run, or a comparison, found.
pub(super) fn report(run: &Path) -> String {
    of(&["report"], run, &[])
}

/// Shows what an attempt printed, or lists what there is.
pub(super) fn logs(run: &Path, attempt: Option<AttemptId>) -> String {
    let attempt = attempt.map(|attempt| attempt.to_string());
    of(&["logs"], run, attempt.as_deref().as_slice())
}

/// Makes the page of a run again.
pub(super) fn report_page(run: &Path) -> String {
    of(&["report"], run, &["--format", "html"])
}

/// Goes on with a comparison.
pub(super) fn resume_scale(folder: &Path) -> String {
    of(&["scale", "--resume"], folder, &[])
}

/// The same, where nodes may be held by the run that was under way.
pub(super) fn resume_scale_and_take_over(folder: &Path) -> String {
    of(&["scale", "--resume"], folder, &["--take-over"])
}

fn of(before: &[&str], path: &Path, after: &[&str]) -> String {
    // A path that begins with a dash would be taken for a flag.
    let is_like_a_flag = path.as_os_str().as_bytes().starts_with(b"-");
    let path = if is_like_a_flag { quoted(Path::new(".").join(path).as_os_str()) } else { quoted(path.as_os_str()) };
    let words = ["broadsweep"].iter().chain(before).copied().chain([path.as_str()]).chain(after.iter().copied());
    words.collect::<Vec<_>>().join(" ")
}

/// A word as a shell reads it back. What a terminal cannot show as it is stands there by its octal number, between `$'`
/// and `'`, as bash, zsh and ksh know it.
fn quoted(word: &OsStr) -> String {
    let bytes = word.as_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./:@%+,=-".contains(byte);
    if !bytes.is_empty() && bytes.iter().all(is_plain) {
        return bytes.iter().map(|byte| char::from(*byte)).collect();
    }
    match word.to_str() {
        Some(text) if !text.contains(crate::results::show::is_disruptive) => {
            format!("'{}'", text.replace('\'', "'\\''"))
        }
        _ => {
            let inside = bytes.iter().map(|byte| match byte {
                b'\'' | b'\\' => format!("\\{}", char::from(*byte)),
                b' '..=b'~' => char::from(*byte).to_string(),
                other => format!("\\{other:03o}"),
            });
            format!("$'{}'", inside.collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::ids::TaskId;
    use clap::Parser;

    use super::*;
    use crate::command::Cli;

    #[test]
    fn a_word_is_quoted_only_where_a_shell_or_a_terminal_would_take_it_for_something_else() {
        let rows: [(&[u8], &str); 8] = [
            (b"runs/mine-20261122T194953Z", "runs/mine-20261122T194953Z"),
            (b"", "''"),
            (b"my runs/a", "'my runs/a'"),
            (b"it's", "'it'\\''s'"),
            (b"$(rm -r .)`\"*", "'$(rm -r .)`\"*'"),
            ("größe".as_bytes(), "'größe'"),
            (b"a\x1b[2J\n'\\", "$'a\\033[2J\\012\\'\\\\'"),
            (b"b\xff1", "$'b\\3771'"),
        ];
        for (word, expected) in rows {
            assert_eq!(quoted(OsStr::from_bytes(word)), expected);
        }
    }

    #[test]
    fn every_hint_is_a_command_that_there_is() {
        for run in ["run", "-x"].map(Path::new) {
            let attempt = AttemptId { task: TaskId(7), number: 2 };
            let of_runs =
                [resume(run), status(run), report(run), report_page(run), logs(run, None), logs(run, Some(attempt))];
            for hint in of_runs.into_iter().chain([resume_scale(run), resume_scale_and_take_over(run)]) {
                let parsed = Cli::try_parse_from(hint.split(' '));
                assert!(parsed.is_ok(), "{hint}: {:?}", parsed.err().map(|error| error.to_string()));
            }
        }
    }
}
