"""What Optuna reads of an exported run, beside the same run's JSON lines and summary.

    optuna_reads.py studies FOLDER              writes small studies
    optuna_reads.py compare RUNS EXPORTED       runs by name, and NAME.log and NAME.jsonl of each
"""

import json
import sys
import warnings
from pathlib import Path

SCRIPT = """case $BROADSWEEP_PARAM_kind in
fails) echo no luck >&2; exit 7 ;;
diverges) printf '{"epoch": 1, "accuracy": 0.5}\\n{"epoch": 2, "accuracy": NaN}\\n' >> "$BROADSWEEP_METRICS" ;;
*)
    for epoch in 1 2 3; do
        echo "{\\"epoch\\": $epoch, \\"accuracy\\": $(awk "BEGIN { print $BROADSWEEP_PARAM_rate * $epoch / 3 }")}" \\
            >> "$BROADSWEEP_METRICS"
    done ;;
esac
"""

PROGRAM = """name = "program"
[data]
files = ["train.sh"]
[trainer]
kind = "program"
command = ["sh", "train.sh"]
epochs = 3
[search]
sampler = "random"
trials = 30
objective = "accuracy"
direction = "maximize"
[search.space]
rate = { log_range = [0.01, 1.0] }
units = { range = [1, 64] }
kind = { values = ["plain", "fails", "diverges"] }
flag = { values = [true, false] }
[scheduling]
failures_max = 1
backoff_ms = 1
"""

REPLAY = """name = "replay"
[trainer]
kind = "replay"
seconds = "$pause"
epochs = "$epochs"
error = "$error"
[search]
sampler = "sobol"
trials = 150
[search.space]
pause = { values = [0, 0.001] }
epochs = { log_range = [1, 8] }
error = { range = [0.25, 0.5] }
[control]
pause = 0.5
epochs = 20
error = 1
"""

CUT_OFF = """name = "cut-off"
[trainer]
kind = "replay"
seconds = "$pause"
error = 0.25
[search]
sampler = "grid"
[search.space]
pause = { values = [0, 0.1, 3600] }
"""


def studies(folder):
    folder = Path(folder)
    folder.mkdir()
    (folder / "train.sh").write_text(SCRIPT)
    for name, text in [("program", PROGRAM), ("replay", REPLAY), ("cut-off", CUT_OFF)]:
        (folder / f"{name}.toml").write_text(text)


STATES = {
    "finished": "COMPLETE",
    "diverged": "FAIL",
    "given_up": "FAIL",
    "running": "RUNNING",
    "waiting": "WAITING",
}


def state(line, objective):
    """Optuna takes no NaN for a value, and JSON has none."""
    is_nan = line["state"] == "finished" and line["metrics"].get(objective) is None
    return "FAIL" if is_nan else STATES[line["state"]]


def opened(path):
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(path))))


def wrong(study, lines, summary):
    """What Optuna reads otherwise, in words."""
    (objective,) = study.metric_names
    if len(study.trials) != len(lines):
        yield f"{len(study.trials)} trials, and not {len(lines)}"
    for trial, line in zip(study.trials, lines):
        number = line["trial"]
        if trial.number != number or trial.state.name != state(line, objective):
            yield f"trial {number} is {trial.number}, {trial.state.name}"
        if trial.params != line["parameters"]:
            yield f"trial {number} has the parameters {trial.params}, and not {line['parameters']}"
        if not all(
            trial.distributions[name]._contains(trial.distributions[name].to_internal_repr(value))
            for name, value in trial.params.items()
        ):
            yield f"trial {number} lies beside its distributions"
        if trial.state.name == "COMPLETE" and trial.value != line["metrics"][objective]:
            yield f"trial {number} has the value {trial.value}"
        if trial.state.name == "COMPLETE" and trial.intermediate_values[line["counted_epoch"]] != trial.value:
            yield f"trial {number} has the curve {trial.intermediate_values}"
        if len(trial.intermediate_values) != line["epochs"] and trial.state.name == "COMPLETE":
            yield f"trial {number} has a curve of {len(trial.intermediate_values)} epochs"
        if trial.state.name == "FAIL" and trial.user_attrs["reason"] != (
            line["reason"] or f"its {objective} is not a number"
        ):
            yield f"trial {number} has the attributes {trial.user_attrs}"
        if trial.state.name in ("COMPLETE", "FAIL"):
            seconds = (trial.datetime_complete - trial.datetime_start).total_seconds()
            if abs(seconds - (line["ended_s"] - line["started_s"])) > 1e-5:
                yield f"trial {number} took {seconds} s"
    best = summary["best"]
    if study.best_trial.number != best["trial"] or study.best_trial.params != best["configuration"]:
        yield f"the best is {study.best_trial.number}, and not {best['trial']}"


def goes_on(study):
    """Whether Optuna can go on with the study, as its samplers and importances need."""
    import optuna

    study.sampler = optuna.samplers.TPESampler(seed=1)
    trial = study.ask(dict(study.best_trial.distributions))
    study.tell(trial, study.best_value)
    complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    space = optuna.search_space.intersection_search_space(complete)
    return set(space) == set(study.best_trial.params)


def compare(runs, exported):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore")
    good = True
    names = sorted(path.stem for path in Path(exported).glob("*.log"))
    for name in names:
        study = opened(Path(exported) / f"{name}.log")
        lines = [json.loads(line) for line in (Path(exported) / f"{name}.jsonl").read_text().splitlines()]
        summary = json.loads((Path(runs) / name / "summary.json").read_text())
        faults = list(wrong(study, lines, summary))
        states = {}
        for trial in study.trials:
            states[trial.state.name] = states.get(trial.state.name, 0) + 1
        told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        best = f"best {study.best_value:g} of trial {study.best_trial.number}, {study.best_params}"
        if not goes_on(study):
            faults.append("Optuna cannot go on with it")
        print(f"{'WRONG' if faults else 'ok':5} {name:9} {told}; {study.direction.name}, {best}")
        for fault in faults[:5]:
            print(f"      {fault}")
        good = good and not faults
    print(f"{len(names)} studies were read by Optuna {optuna.__version__}")
    sys.exit(0 if good and names else 1)


if __name__ == "__main__":
    {"studies": studies, "compare": compare}[sys.argv[1]](*sys.argv[2:])
