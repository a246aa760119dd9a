//! The executor as a command: its flags, and the process around `serve`.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use broadsweep_common::address::Address;
use broadsweep_common::attempt::SLOTS_MAX;
use broadsweep_common::heap;
use broadsweep_common::size::ByteSize;
use broadsweep_identity::Role;
use broadsweep_objects::{AllowedStores, ObjectError};
use broadsweep_proto::PROTOCOL;
use broadsweep_proto::dial::Tcp;
use broadsweep_proto::guard::door;
use broadsweep_proto::proof::{IdentityFile, Proof};
use broadsweep_proto::secret::Secret;
use clap::Args;
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

pub use broadsweep_leash::supervise_if_asked;

use crate::files::AllowedFiles;
use crate::machine::{cores, memory_bytes};
use crate::server::{Orders, Settings, serve};
use crate::signals::{Asked, EndSignals};
use crate::slots::SlotThreads;
use crate::trainers::program::{GpuName, Programs};
use broadsweep_nn::Kernel;

/// Begins the line on standard output that says where an executor listens.
pub const LISTENING: &str = "broadsweep executor listens on ";

/// What was wrong with the standard output.
const NOT_PRINTED: &str = "cannot write to the standard output";

/// Seconds that a run keeps an executor whose driver is gone, unless it is told otherwise.
pub const ORPHAN_TIMEOUT_S: u64 = 600;
/// The longest time that can be asked for: a week.
pub const MAX_S: u64 = 604_800;

/// The flags of `broadsweep executor` and `broadsweep-executor`.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(
    after_help = "It prints its address on standard output once it listens, and serves one driver at a time, for as \
                        many runs as come. SIGTERM or Ctrl-C makes it leave: it finishes or checkpoints what it runs, \
                        and takes nothing new. A second one ends it at once. SIGHUP (unless nohup has it ignored), \
                        SIGUSR1 and SIGXCPU make it leave too. RUST_LOG sets what is logged, as in RUST_LOG=debug."
)]
pub struct ExecutorArgs {
    /// Host and port to listen on: port 0 takes a free one and prints it, and without one it is 7717
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7717")]
    pub listen: Address,

    /// Attempts that train at the same time, one thread each [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(SLOTS_MAX)))]
    pub slots: Option<u32>,

    /// Memory that this executor may use, as 20GB or 512MiB: each slot has its share, and trials that need more are
    /// refused [default: all that the machine, or its control group, has]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<ByteSize>,

    /// Folder that keeps data sets across runs; executors of one machine may share it
    /// [default: broadsweep in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,

    /// What the cache folder may have, as 20GB or 512MiB: what was not used for longest goes first, what is in use stays
    /// [default: half of what is free on its disk, and 64GiB at most]
    #[arg(long, value_name = "SIZE")]
    pub cache_bytes: Option<ByteSize>,

    /// Address of this executor for other executors, if it is not the one that the driver dials
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<Address>,

    /// Who this executor is: the file that `broadsweep cluster` made for this node. With it, all connections are encrypted,
    /// and only its cluster's driver and executors are let in [default: executor.pem in the user's folder of settings, if
    /// it is there]
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub identity: Option<PathBuf>,

    /// Listen beyond this machine without encryption or authentication: anyone who reaches the port can use it
    #[arg(long)]
    pub insecure: bool,

    /// Run the programs that studies bring: whoever may use this executor can then do here what its user can
    #[arg(long)]
    pub allow_programs: bool,

    /// Read files below this folder for drivers: the rows that `broadsweep apply` applies a model to, which drivers send
    /// otherwise. May be given several times
    #[arg(long, value_name = "DIR")]
    pub allow_files: Vec<PathBuf>,

    /// Read objects below this address for drivers, as `s3://bucket/prefix` or `https://host/folder`, with the credentials
    /// of this executor's own environment (`AWS_ACCESS_KEY_ID` and others). May be given several times
    #[arg(long, value_name = "ADDRESS")]
    pub allow_stores: Vec<String>,

    /// GPUs that programs may use, by their numbers as `nvidia-smi` has them or by UUIDs: 0,1. Slots share them evenly; a
    /// study whose trials need some for themselves (`requires`) gets fewer slots
    #[arg(long, value_name = "GPU,..", value_delimiter = ',')]
    pub gpus: Vec<GpuName>,

    /// Seconds that a run keeps this executor after its driver is gone; then what ran for it stops
    #[arg(long, value_name = "SECONDS", default_value_t = ORPHAN_TIMEOUT_S, value_parser = clap::value_parser!(u64).range(1..=MAX_S))]
    pub orphan_timeout: u64,

    /// Seconds that this executor may take to leave after SIGTERM: it ends or checkpoints what it runs
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(0..=MAX_S))]
    pub drain_timeout: u64,

    /// Say what this machine offers to drivers, and end
    #[arg(long)]
    pub about: bool,

    /// End once a run was orphaned: a local executor has no other use. It serves the driver that started it alone: that
    /// one puts a secret on its standard input
    #[arg(long, hide = true)]
    pub ends_when_orphaned: bool,
}

impl ExecutorArgs {
    /// What this executor has of the machine's memory.
    fn memory_bytes(&self) -> u64 {
        self.memory.map_or_else(memory_bytes, |asked| asked.0)
    }

    /// Whether the flags go together.
    ///
    /// # Errors
    /// In words, if the executor would be open to a network without a word that this is wanted.
    pub fn check(&self) -> anyhow::Result<()> {
        if let Some(cache) = self.cache_dir.as_deref().filter(|cache| cache.is_file()) {
            bail!("{} is not a folder; name another one with --cache-dir", cache.display());
        }
        if let Some(asked) = self.memory {
            let there = ByteSize(memory_bytes());
            if asked.0 == 0 || asked > there {
                bail!("--memory {asked}: this machine has {there}; name an amount from 1 byte to that");
            }
        }
        self.check_gpus()?;
        let identity = self.identity()?;
        let addresses = self.addresses(identity.is_some())?;
        self.allowed_files()?;
        self.allowed_stores()?;
        let allowed = [
            ("--allow-programs", "run programs", self.allow_programs),
            ("--allow-files", "read files", !self.allow_files.is_empty()),
            ("--allow-stores", "read from stores", !self.allow_stores.is_empty()),
        ];
        let allowed = allowed.into_iter().find(|(_, _, is_allowed)| *is_allowed);
        if let Some((flag, what, _)) = allowed
            && identity.is_none()
            && !addresses.iter().all(|address| address.ip().is_loopback())
        {
            bail!(
                "{flag} and --insecure together would let anyone who reaches {} {what} here: make an identity with \
                 `broadsweep cluster init`, and name it with --identity",
                self.listen
            );
        }
        Ok(())
    }

    fn check_gpus(&self) -> anyhow::Result<()> {
        let mut earlier = self.gpus.iter().enumerate();
        if let Some((_, twice)) = earlier.find(|(place, gpu)| self.gpus[..*place].contains(gpu)) {
            bail!("--gpus names {twice} twice: each GPU has to be named once");
        }
        if !self.gpus.is_empty() && !self.runs_programs() {
            bail!("--gpus lends GPUs to programs, and this executor runs none; add --allow-programs");
        }
        Ok(())
    }

    /// Whether studies may bring programs. The driver that started this executor may in any case.
    fn runs_programs(&self) -> bool {
        self.allow_programs || self.ends_when_orphaned
    }

    /// Which files studies may have read. The driver that started this executor may have any that its user may.
    fn allowed_files(&self) -> anyhow::Result<Option<AllowedFiles>> {
        if self.ends_when_orphaned {
            return Ok(Some(AllowedFiles::any()));
        }
        let below = (!self.allow_files.is_empty()).then(|| AllowedFiles::below(&self.allow_files));
        below.transpose().map_err(anyhow::Error::msg)
    }

    /// Likewise which objects of stores.
    fn allowed_stores(&self) -> anyhow::Result<Option<AllowedStores>> {
        if self.ends_when_orphaned {
            return Ok(Some(AllowedStores::any()));
        }
        if self.allow_stores.is_empty() {
            return Ok(None);
        }
        if !broadsweep_objects::is_built() {
            return Err(ObjectError::NotBuilt.into());
        }
        AllowedStores::below(&self.allow_stores).map(Some).context("--allow-stores")
    }

    /// Who this executor is, if it has to say so. One that a driver started for itself has not.
    fn identity(&self) -> anyhow::Result<Option<Arc<IdentityFile>>> {
        if self.insecure || self.ends_when_orphaned {
            return Ok(None);
        }
        IdentityFile::for_role(Role::Executor, self.identity.as_deref()).map_err(anyhow::Error::msg)
    }

    /// Where to listen: what the host's name stands for, and loopback alone unless more is wanted. IPv4 comes first,
    /// since that is what people dial.
    fn addresses(&self, has_identity: bool) -> anyhow::Result<Vec<SocketAddr>> {
        let found = (self.listen.host(), self.listen.port()).to_socket_addrs();
        let found = found.with_context(|| format!("{} is no address of this machine", self.listen.host()))?;
        let mut addresses: Vec<_> = found.collect();
        addresses.sort_by_key(SocketAddr::is_ipv6);
        if self.insecure || has_identity || addresses.iter().all(|address| address.ip().is_loopback()) {
            return Ok(addresses);
        }
        bail!(
            "{} is reachable from other machines, and this executor has no identity: make one a node with \
             `broadsweep cluster init`, copy it here and name it with --identity; or listen on 127.0.0.1, or add \
             --insecure if you trust everyone on that network",
            self.listen
        )
    }
}

/// Runs an executor until a signal makes it leave.
///
/// # Errors
/// In words, with what to do: an address in use, a cache folder that cannot be written.
pub fn run(args: &ExecutorArgs) -> anyhow::Result<()> {
    if args.about {
        return about(args);
    }
    heap::keep_what_is_freed();
    let slots = match args.slots {
        Some(slots) => slots,
        None => cores(),
    };
    // From the root: programs run in folders below it, and whoever starts them works elsewhere.
    let cache_dir = args.cache_dir.clone().map_or_else(default_cache_dir, Ok)?;
    let cache_dir =
        std::path::absolute(&cache_dir).with_context(|| format!("cannot tell where {} is", cache_dir.display()))?;
    let instance = RandomState::new().build_hasher().finish();
    let programs = if args.runs_programs() {
        Some(Arc::new(Programs::new(&cache_dir, args.gpus.clone(), instance).map_err(anyhow::Error::msg)?))
    } else {
        None
    };
    let settings = Settings {
        slots,
        memory_bytes: args.memory_bytes(),
        kernels: Kernel::detect(),
        cache_dir,
        cache_bytes: args.cache_bytes.map(|size| size.0),
        advertise: args.advertise.as_ref().map(ToString::to_string),
        instance,
        orphan_timeout: Duration::from_secs(args.orphan_timeout),
        drain_timeout: Duration::from_secs(args.drain_timeout),
        ends_when_orphaned: args.ends_when_orphaned,
        programs,
        files: args.allowed_files()?,
        stores: args.allowed_stores()?,
    };
    let threads = SlotThreads::start(slots).context("cannot start the slots' threads")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the network's threads")?;
    let result = runtime.block_on(listen_and_serve(args, settings, threads));
    // Slots stop between two batches once their session has ended; the process does not wait for them.
    runtime.shutdown_background();
    result
}

/// What a driver would be told.
fn about(args: &ExecutorArgs) -> anyhow::Result<()> {
    let kernels: Vec<_> = Kernel::detect().into_iter().map(Kernel::name).collect();
    let gpus: Vec<_> = args.gpus.iter().map(ToString::to_string).collect();
    let text = format!(
        "version  {}, protocol {PROTOCOL}\nslots    {}\nmemory   {:.1} GiB\nkernels  {} (the fastest first)\ngpus     {}\n",
        env!("CARGO_PKG_VERSION"),
        args.slots.unwrap_or_else(cores),
        args.memory_bytes() as f64 / f64::from(1 << 30),
        kernels.join(", "),
        if gpus.is_empty() { "none are lent".to_owned() } else { gpus.join(", ") }
    );
    match io::stdout().write_all(text.as_bytes()) {
        // Who reads no further has what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context(NOT_PRINTED),
    }
}

async fn listen_and_serve(args: &ExecutorArgs, settings: Settings, threads: SlotThreads) -> anyhow::Result<()> {
    let identity = args.identity()?;
    let addresses = args.addresses(identity.is_some())?;
    let listener = TcpListener::bind(&addresses[..]).await.with_context(|| {
        format!("cannot listen on {}; choose another address with --listen, or end what has it", args.listen)
    })?;
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() && identity.is_none() {
        tracing::warn!(%address, "insecure: anyone who reaches this port can use this machine");
    }
    let proof = match identity {
        Some(identity) => Proof::Identity(identity),
        None if args.ends_when_orphaned => {
            Proof::Secret(Secret::read(io::stdin()).context("its driver did not hand it the secret of its run")?)
        }
        None => Proof::Nothing,
    };
    // Before anybody knows that it is here: a signal that came earlier would end it at once.
    let orders = orders()?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{LISTENING}{address}").and_then(|()| stdout.flush()).context(NOT_PRINTED)?;
    tracing::info!(%address, slots = settings.slots, cache = %settings.cache_dir.display(), "listening");
    let incoming = ReceiverStream::new(door(listener, proof.clone()));
    serve(settings, incoming, Arc::new(threads), Arc::new(Tcp { proof }), orders).await?;
    Ok(())
}

/// The first signal makes the executor leave, a second one that asks for it ends it at once.
fn orders() -> io::Result<Orders<impl Future<Output = ()>, impl Future<Output = ()>>> {
    let mut signals = EndSignals::listen()?;
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let (drain, shutdown) = (first.clone(), second.clone());
    tokio::spawn(async move {
        loop {
            let asked = signals.next().await;
            if first.is_cancelled() && asked == Asked::ToEnd {
                second.cancel();
            }
            first.cancel();
        }
    });
    Ok(Orders { drain: drain.cancelled_owned(), shutdown: shutdown.cancelled_owned() })
}

/// `broadsweep` in the user's cache folder.
///
/// # Errors
/// If the environment names neither a cache folder nor a home.
pub fn default_cache_dir() -> anyhow::Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    Ok(base.context("neither XDG_CACHE_HOME nor HOME is set; name a folder with --cache-dir")?.join("broadsweep"))
}
