//! The numbers are those of drivers from before metrics had names: by the first digest of results, whose values for the
//! studies here were written down then. They depend on study and kernel alone.

use broadsweep_driver::run::read;
use broadsweep_nn::Kernel;
use broadsweep_tests::lab::{Lab, studies};
use broadsweep_tests::results_v1::results_v1_sha256;

const PROGRAM: &str = env!("CARGO_BIN_EXE_broadsweep-under-test");

/// A run, and the digest that it had. `avx512` and `avx2` give the same bits.
const DIGESTS: [(&str, Option<&str>, &str); 7] = [
    ("tiny", Some("portable"), "f7f9beeaaf021c22da89eccd510608c32da77b220f19d82f0a28abb95f6a78c2"),
    ("tiny", Some("avx2"), "dd5128c455f4ac3b408bc2c3583ea99f9d51366b5551bee1a8840d17d18312e6"),
    ("tiny", Some("avx512"), "dd5128c455f4ac3b408bc2c3583ea99f9d51366b5551bee1a8840d17d18312e6"),
    ("glance", Some("portable"), "ceda96ea64f3463b748333b55700c7eab7f26f25085c715cc54f2d4c95ce6d0c"),
    ("glance", Some("avx2"), "81c3c1e12846e57945ba9823591427b5bfa4e533f0fd0cc2f0e54e469cfe05c1"),
    ("glance", Some("avx512"), "81c3c1e12846e57945ba9823591427b5bfa4e533f0fd0cc2f0e54e469cfe05c1"),
    ("noop", None, "fd289e6f6b82738e3634d3bd7cf6fcbd490418b0bb7823d203652e5db7aaa5da"),
];

#[test]
fn every_study_gives_the_numbers_that_it_gave_before_metrics_had_names() {
    let lab = Lab::new(PROGRAM);
    let known: Vec<_> = Kernel::detect().into_iter().map(Kernel::name).collect();
    for (study, kernel, expected) in DIGESTS {
        if kernel.is_some_and(|kernel| !known.contains(&kernel)) {
            continue;
        }
        let out = format!("{study}-{}", kernel.unwrap_or("none"));
        let flags: Vec<_> = kernel.into_iter().flat_map(|kernel| ["--kernel", kernel]).collect();
        let run = lab.tuned(&studies().join(format!("{study}.toml")), &out, &flags);
        let record = read(&run.folder).expect("a run that is over can be read").record;
        assert_eq!(results_v1_sha256(&record.trials), expected, "{out}");
    }
}
