//! Compiles the `.proto` files in Rust alone: no `protoc` has to be installed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let with_services = tonic_prost_build::configure();
    // `src/bulk` has a client and a server of its own.
    let messages_only = tonic_prost_build::configure().build_client(false).build_server(false);
    for (builder, files) in
        [(with_services, &["session.proto", "blocks.proto"][..]), (messages_only, &["bulk.proto"])]
    {
        for file in files {
            println!("cargo::rerun-if-changed={file}");
        }
        builder.bytes(".").compile_fds(protox::compile(files, ["."])?)?;
    }
    Ok(())
}
