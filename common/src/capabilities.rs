//! What an executor can do and allows, as it says when it greets a driver.

/// Kernels that one executor may name.
pub const KERNELS_MAX: usize = 16;
/// Bytes that the name of a kernel may have.
pub const KERNEL_BYTES_MAX: usize = 64;

/// What an executor can do and allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// What can train there, the fastest first.
    pub kernels: Vec<String>,
    /// Whether it runs programs that a study brings.
    pub programs_allowed: bool,
    /// Whether it reads and writes files of its machine for a study.
    pub files_allowed: bool,
    /// How many GPUs it lends.
    pub gpus: u32,
}
