//! Names of many nodes at once, as Slurm writes them: `node[01-04,07]` is five.

use std::ops::RangeInclusive;

/// Brackets that one name may have.
const BRACKETS_MAX: usize = 4;
/// Bytes that it may have.
const NAME_BYTES_MAX: usize = 4096;

/// What stands between commas, but for those in brackets.
pub(super) fn split_at_commas(text: &str) -> impl Iterator<Item = &str> {
    let mut is_inside = false;
    text.split(move |character| {
        is_inside = (is_inside || character == '[') && character != ']';
        character == ',' && !is_inside
    })
}

/// The names that one stands for, at most `names_max`; `None` where it cannot be read. An IPv6 address has brackets, but
/// no range in them, and stays as it is.
pub(super) fn expand(name: &str, names_max: usize) -> Option<Vec<String>> {
    if name.starts_with('[') || !name.contains('[') {
        return Some(vec![name.to_owned()]);
    }
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let (mut names, mut rest) = (vec![String::new()], name);
    for _ in 0..BRACKETS_MAX {
        let Some((before, after)) = rest.split_once('[') else { break };
        let (ranges, behind) = after.split_once(']')?;
        let ranges = ranges.split(',').map(range).collect::<Option<Vec<_>>>()?;
        let numbers: u64 = ranges.iter().map(|(_, numbers)| numbers.end() - numbers.start() + 1).sum();
        if numbers.checked_mul(names.len() as u64)? > names_max as u64 {
            return None;
        }
        let longer = |name: &String| {
            let ranges =
                ranges.iter().cloned().flat_map(|(width, numbers)| numbers.map(move |number| (width, number)));
            ranges.map(|(width, number)| format!("{name}{before}{number:0width$}")).collect::<Vec<_>>()
        };
        names = names.iter().flat_map(longer).collect();
        rest = behind;
    }
    Some(names.into_iter().map(|name| name + rest).collect())
}

/// `07` or `01-04`: as many digits as its first number is written with, and the numbers.
fn range(text: &str) -> Option<(usize, RangeInclusive<u64>)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u32>().ok())?;
    let (low, high) = (number(first)?.into(), number(last)?.into());
    (low <= high).then_some((first.len(), low..=high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_keeps_its_zeros_and_brackets_multiply() {
        let rows: [(&str, &[&str]); 6] = [
            ("node7", &["node7"]),
            ("n[8-10]", &["n8", "n9", "n10"]),
            ("n[08-10,7]", &["n08", "n09", "n10", "n7"]),
            ("r[1-2]n[1,3].org:80", &["r1n1.org:80", "r1n3.org:80", "r2n1.org:80", "r2n3.org:80"]),
            ("[::1]:80", &["[::1]:80"]),
            ("a[1]b[1]c[1]d[1]e[1]", &["a1b1c1d1e[1]"]), // which is no address
        ];
        for (name, expected) in rows {
            assert_eq!(expand(name, 100).unwrap(), expected, "{name}");
        }
        let pieces: Vec<_> = split_at_commas("a[1,2],b,[::1]:80").collect();
        assert_eq!(pieces, ["a[1,2]", "b", "[::1]:80"]);
    }

    #[test]
    fn what_is_no_range_or_too_many_is_none() {
        let long = format!("n{}[1]", "n".repeat(NAME_BYTES_MAX));
        for name in
            ["n[", "n[]", "n[1", "n[2-1]", "n[-1]", "n[1-]", "n[a-b]", "n[+1]", "n[1-101]", "n[1-11]m[1-11]", &long]
        {
            assert_eq!(expand(name, 100), None, "{name}");
        }
        assert_eq!(expand("n[1-100]", 100).unwrap().len(), 100);
        let longest = format!("n{}[1]", "n".repeat(NAME_BYTES_MAX - 4));
        assert_eq!(expand(&longest, 100).unwrap().len(), 1);
        assert_eq!(expand("n[0-4294967295]m[0-4294967295]", 100), None);
    }
}
