//! Which files of its machine an executor reads for a driver.

use std::path::{Component, Path, PathBuf};

/// Folders whose files may be read, as they are once links are followed.
#[derive(Clone, Debug)]
pub struct AllowedFiles(Vec<PathBuf>);

impl AllowedFiles {
    /// Files below these folders.
    ///
    /// # Errors
    /// In words, if one of them is no folder.
    pub fn below(folders: &[PathBuf]) -> Result<Self, String> {
        let found = folders.iter().map(|folder| match folder.canonicalize() {
            Ok(found) if found.is_dir() => Ok(found),
            Ok(_) => {
                Err(format!("--allow-files {}: it is no folder; name the one that the file is in", folder.display()))
            }
            Err(error) => Err(format!("--allow-files {}: {error}", folder.display())),
        });
        found.collect::<Result<_, _>>().map(Self)
    }

    /// All that this process may read: for an executor that its driver started.
    #[must_use]
    pub fn any() -> Self {
        Self(vec![PathBuf::from("/")])
    }

    /// Where a file is, with all links followed.
    ///
    /// # Errors
    /// In words, if it is not there, or not below the folders that may be read.
    pub(crate) fn find(&self, path: &Path) -> Result<PathBuf, String> {
        let shown = path.display();
        if !path.is_absolute() {
            return Err(format!("{shown} does not start at the root"));
        }
        let refused = || format!("{shown} is not below a folder that --allow-files names there");
        let is_below = |path: &Path| self.0.iter().any(|folder| path.starts_with(folder));
        match path.canonicalize() {
            Ok(found) if is_below(&found) => Ok(found),
            // What there is elsewhere is nobody's business who may not read it.
            Err(error) if is_below(path) && !path.components().any(|part| part == Component::ParentDir) => {
                Err(format!("{shown}: {error}"))
            }
            Ok(_) | Err(_) => Err(refused()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_below_a_folder_are_found_and_links_do_not_lead_out_of_it() {
        let home = tempfile::tempdir().unwrap();
        let [inside, outside] = ["inside", "outside"].map(|name| home.path().join(name));
        for folder in [&inside, &outside] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("rows.csv"), "1\n").unwrap();
        }
        symlink(outside.join("rows.csv"), inside.join("out.csv")).unwrap();
        symlink(inside.join("rows.csv"), outside.join("in.csv")).unwrap();
        symlink(&inside, home.path().join("link")).unwrap();
        let allowed = AllowedFiles::below(&[home.path().join("link")]).unwrap();
        let whole = inside.join("rows.csv").canonicalize().unwrap();
        assert_eq!(allowed.find(&inside.join("rows.csv")).unwrap(), whole);
        assert_eq!(allowed.find(&outside.join("in.csv")).unwrap(), whole, "it is where it leads");
        for (path, expected) in [
            (inside.join("out.csv"), "is not below a folder that --allow-files names"),
            (inside.join("../outside/rows.csv"), "is not below a folder"),
            (inside.canonicalize().unwrap().join("none.csv"), "none.csv: No such file"),
            (inside.join("../none.csv"), "is not below a folder"),
            (outside.join("none.csv"), "is not below a folder"),
            ("rows.csv".into(), "does not start at the root"),
        ] {
            let error = allowed.find(&path).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        assert!(AllowedFiles::any().find(&outside.join("rows.csv")).is_ok());
        let error = AllowedFiles::below(&[inside.join("rows.csv")]).unwrap_err();
        assert!(error.contains("it is no folder"), "{error}");
    }
}
