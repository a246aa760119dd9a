//! What the allocator does with memory that is given back.

use std::hint::black_box;

/// The largest allocation whose release glibc takes as a hint, less what it adds itself.
const HINT_BYTES: usize = (32 << 20) - (64 << 10);

/// Has the allocator keep what is freed for the next that asks. Call it once, before the process begins to work.
///
/// Blocks of a megabyte come and go by the thousand in a broadcast. As it starts, glibc returns each of them to the
/// system and takes it anew, a page fault for every four KiB: a fifth of an executor's time. It learns from what is
/// freed, though: once an allocation of almost 32 MiB was, smaller ones are served from its heap, and a heap is cut
/// when 64 MiB at its end lie idle (`mallopt(3)`, `M_MMAP_THRESHOLD` and `M_TRIM_THRESHOLD`). The hint itself is never
/// touched and takes no memory. Other allocators have their own ways, and lose nothing.
pub fn keep_what_is_freed() {
    drop(black_box(Vec::<u8>::with_capacity(HINT_BYTES)));
}
