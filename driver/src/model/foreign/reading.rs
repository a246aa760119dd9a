//! An ONNX file, read and tried in a process of its own, which may fail in any way.

use std::path::Path;

use anyhow::anyhow;
use broadsweep_onnx::Opened;

/// What came of a file.
pub struct Read {
    /// What is known of it.
    pub opened: Opened,
    /// Numbers that it answers a row with.
    pub width: u64,
    /// Its graph, in standard operators.
    pub graph: Vec<u8>,
}

#[cfg(not(feature = "onnx"))]
pub(super) fn read(path: &Path) -> Result<Read, anyhow::Error> {
    Err(anyhow!(
        "{} is an ONNX model, and this broadsweep was built without what applies them: build it with --features onnx",
        path.display()
    ))
}

#[cfg(feature = "onnx")]
pub(super) use tried::read;
#[cfg(feature = "onnx")]
pub use tried::{COMMAND, answer};

#[cfg(feature = "onnx")]
mod tried {
    use std::fs;
    use std::io::{self, Read as _, Write as _};
    use std::process::{Command, Stdio};

    use anyhow::Context;
    use broadsweep_common::application::{GraphDescription, GraphInput, GraphReading};
    use broadsweep_common::codec;
    use broadsweep_onnx::{BYTES_MAX, Session, open};
    use rustix::process::{Resource, Rlimit, setrlimit};

    use super::{Opened, Path, Read, anyhow};

    /// The command that reads a file, for this program alone.
    pub const COMMAND: &str = "read-onnx";
    /// Memory that reading may take: so much, and so often the file's own bytes.
    const MEMORY_BYTES: u64 = 3 << 30;
    const MEMORY_TIMES: u64 = 8;
    /// Seconds of a processor that it may take.
    const SECONDS_MAX: u64 = 300;
    /// Bytes of its complaint that are shown.
    const COMPLAINT_BYTES_MAX: u64 = 4096;

    /// Has another process read the file, and takes what came of it.
    pub(in super::super) fn read(path: &Path) -> Result<Read, anyhow::Error> {
        let metadata = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        if !metadata.is_file() || metadata.len() > BYTES_MAX {
            return Err(anyhow!("{} is no file of at most {BYTES_MAX} bytes", path.display()));
        }
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let mut child = Command::new(program)
            .arg(COMMAND)
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start this program again, to read the model")?;
        let (mut bytes, mut complaint) = (Vec::new(), String::new());
        if let Some(output) = child.stdout.take() {
            output.take(2 * BYTES_MAX).read_to_end(&mut bytes).context("cannot take in the model")?;
        }
        if let Some(errors) = child.stderr.take() {
            // Whatever it is: what can be read of it is shown.
            let _ = errors.take(COMPLAINT_BYTES_MAX).read_to_string(&mut complaint);
        }
        let ended = child.wait().context("cannot wait for whoever reads the model")?;
        if !ended.success() {
            return Err(anyhow!("{}: {}", path.display(), reason(ended.code(), &complaint)));
        }
        let ((opened, width), graph) =
            codec::decode_before(&bytes).context("what was read of the model is damaged")?;
        Ok(Read { opened, width, graph: graph.to_vec() })
    }

    /// Why there is no model.
    fn reason(code: Option<i32>, complaint: &str) -> String {
        match (code, complaint.trim()) {
            (Some(1), said) if !said.is_empty() => said.strip_prefix("error: ").unwrap_or(said).to_owned(),
            (None, "") => {
                format!("it takes more than {SECONDS_MAX} s to load, which is too long; export a smaller model")
            }
            (_, said) => {
                let first = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("without a word");
                format!(
                    "what read it failed ({first}): the file is damaged, or its graph takes more memory than {} GiB and \
                     {MEMORY_TIMES} times its bytes",
                    MEMORY_BYTES >> 30
                )
            }
        }
    }

    /// Reads a file within bounds, tries its graph, and writes to the standard output what came of it.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn answer(path: &Path) -> Result<(), anyhow::Error> {
        let file_bytes = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
        let bytes = Some(MEMORY_BYTES.saturating_add(file_bytes.saturating_mul(MEMORY_TIMES)));
        setrlimit(Resource::As, Rlimit { current: bytes, maximum: bytes }).context("cannot bound its memory")?;
        let seconds = Some(SECONDS_MAX);
        setrlimit(Resource::Cpu, Rlimit { current: seconds, maximum: seconds }).context("cannot bound its time")?;
        let (opened, graph) = open(path)?;
        let width = width_of(&opened, &graph)?;
        let bytes = codec::encode_before(&(opened, width), &graph).context("the model has too many names")?;
        io::stdout().lock().write_all(&bytes).context("cannot hand the model over")
    }

    /// Numbers that the graph answers a row with: those of a batch of zeros.
    fn width_of(opened: &Opened, graph: &[u8]) -> Result<u64, anyhow::Error> {
        let description = GraphDescription {
            inputs: opened.inputs.clone(),
            batch_rows: opened.batch_rows,
            channels_first: false,
            output: opened.output.clone(),
            reading: GraphReading::Values,
        };
        let session = Session::load(graph, description)?;
        let values: u64 = opened.inputs.iter().map(GraphInput::values).sum();
        let rows = session.batch_rows();
        let numbers = session.runner().run(rows, &vec![0.0; rows.saturating_mul(values as usize)])?;
        Ok((numbers.len() / rows) as u64)
    }
}
