//! What a setting accepts, and the settings of `[model]` and `[training]` read by it.
//!
//! A fixed value, a value of the search space and the control's value pass the same check, so that nothing that
//! the search can draw fails later in a trial.

use std::collections::BTreeSet;
use std::ops::Range;

use broadsweep_common::configuration::Value;
use broadsweep_common::model::{Activation, Initialization, Padding};
use broadsweep_common::setting::{Bounds, Setting, SettingValue};
use broadsweep_common::training::OptimizerKind;

use super::diagnostic::Diagnostic;
use super::reader::{Node, Table, one_of, one_of_near};

/// Characters of a parameter's name.
const PARAMETER_CHARACTERS_MAX: usize = 64;

/// What can stand in a setting.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Whole(Bounds<u32>),
    Number(Bounds<f64>),
    Flag,
    Word(Vec<&'static str>),
    /// Nothing depends on the value.
    Any,
}

/// A setting that is searched: `"$parameter"` stands at `span`.
#[derive(Clone, Debug)]
pub(super) struct Use {
    pub(super) parameter: String,
    pub(super) span: Range<usize>,
    /// Which setting: `layer 3 (dense): units`.
    pub(super) place: String,
    pub(super) kind: Kind,
    /// Whether a trial cannot do without: the setting has no default.
    pub(super) is_required: bool,
    /// The flag by which the layer is there that has the setting.
    pub(super) layer_flag: Option<String>,
}

/// The searched settings of a study, as they are found.
#[derive(Debug, Default)]
pub(super) struct Uses {
    pub(super) found: Vec<Use>,
    /// The parameters that are not in every configuration.
    pub(super) conditional: BTreeSet<String>,
}

/// An enum that a study names by a word.
pub(super) trait Word: SettingValue + 'static {
    const WORDS: &'static [(&'static str, Self)];
}

macro_rules! word {
    ($($type:ident),+) => { $(impl Word for $type {
        const WORDS: &'static [(&'static str, Self)] = $type::WORDS;
    })+ };
}
word!(Activation, Initialization, Padding, OptimizerKind);

/// The settings of one table; searched ones are noted in `uses`.
pub(super) struct Settings<'t, 'a> {
    pub(super) table: &'t Table<'a>,
    pub(super) uses: &'t mut Uses,
}

impl Settings<'_, '_> {
    /// A whole number; without a default it is required.
    pub(super) fn whole(
        &mut self,
        key: &str,
        bounds: Bounds<u32>,
        default: Option<u32>,
    ) -> Result<Setting<u32>, Diagnostic> {
        self.read(key, Kind::Whole(bounds), default)
    }

    /// A number; without a default it is required.
    pub(super) fn number(
        &mut self,
        key: &str,
        bounds: Bounds<f64>,
        default: Option<f64>,
    ) -> Result<Setting<f64>, Diagnostic> {
        self.read(key, Kind::Number(bounds), default)
    }

    /// True or false.
    pub(super) fn flag(&mut self, key: &str, default: bool) -> Result<Setting<bool>, Diagnostic> {
        self.read(key, Kind::Flag, Some(default))
    }

    /// A word; without a default it is required.
    pub(super) fn word<T: Word>(&mut self, key: &str, default: Option<T>) -> Result<Setting<T>, Diagnostic> {
        let words = T::WORDS.iter().map(|(word, _)| *word).collect();
        self.read(key, Kind::Word(words), default)
    }

    fn read<T: SettingValue>(&mut self, key: &str, kind: Kind, default: Option<T>) -> Result<Setting<T>, Diagnostic> {
        let node = match (self.table.get(key), &default) {
            (Some(node), _) => node,
            (None, Some(default)) => return Ok(Setting::Fixed(default.clone())),
            (None, None) => self.table.require(key, &format!("{}, or a searched \"$name\"", kind.expected()))?,
        };
        let given = node.scalar().map_err(|_| node.refused(&kind.expected()))?;
        if let Value::Choice(word) = &given
            && let Some(parameter) = word.strip_prefix('$')
        {
            check_parameter_name(&node, parameter)?;
            let parameter = parameter.to_owned();
            let (is_required, span) = (default.is_none(), node.span.clone());
            self.uses.found.push(Use {
                parameter: parameter.clone(),
                span,
                place: node.place,
                kind,
                is_required,
                layer_flag: None,
            });
            return Ok(match default {
                Some(default) if self.uses.conditional.contains(&parameter) => {
                    Setting::Conditional { parameter, default }
                }
                _ => Setting::Searched(parameter),
            });
        }
        let value = kind.admit(&given).map_err(|expected| node.refused(&expected))?;
        T::from_value(&value).map(Setting::Fixed).ok_or_else(|| node.refused(&kind.expected()))
    }
}

impl Kind {
    /// What is accepted, in a user's words.
    pub(super) fn expected(&self) -> String {
        match self {
            Self::Whole(bounds) => format!("a whole number {}", bounds.in_words()),
            Self::Number(bounds) => format!("a number {}", bounds.in_words()),
            Self::Flag => "true or false".to_owned(),
            Self::Word(words) => one_of(words),
            Self::Any => "a finite number, a word in quotes, or true or false".to_owned(),
        }
    }

    /// A domain that a study could give to a parameter here.
    pub(super) fn example(&self) -> String {
        match self {
            Self::Whole(_) | Self::Any => "{ values = [16, 32] }".to_owned(),
            Self::Number(_) => "{ log_range = [0.001, 0.1] }".to_owned(),
            Self::Flag => "{ values = [true, false] }".to_owned(),
            Self::Word(words) => {
                let quoted: Vec<_> = words.iter().take(2).map(|word| format!("\"{word}\"")).collect();
                format!("{{ values = [{}] }}", quoted.join(", "))
            }
        }
    }

    /// `value` in the one form that this setting has: 1 is 1.0 where a number stands, so that equal configurations
    /// have equal digests. The error says what was expected instead.
    pub(super) fn admit(&self, value: &Value) -> Result<Value, String> {
        match (self, value) {
            (Self::Whole(bounds), Value::Integer(integer))
                if u32::try_from(*integer).is_ok_and(|whole| bounds.hold(whole)) =>
            {
                Ok(Value::Integer(*integer))
            }
            (Self::Number(bounds), Value::Integer(integer)) if bounds.hold(*integer as f64) => {
                Ok(Value::Real(*integer as f64))
            }
            // -0.0 becomes 0.0: they are equal, and so are the digests then.
            (Self::Number(bounds), Value::Real(real)) if bounds.hold(*real) => Ok(Value::Real(*real + 0.0)),
            (Self::Flag, Value::Flag(flag)) => Ok(Value::Flag(*flag)),
            (Self::Word(words), Value::Choice(word)) if words.contains(&word.as_str()) => {
                Ok(Value::Choice(word.clone()))
            }
            (Self::Any, Value::Real(real)) if real.is_finite() => Ok(Value::Real(*real + 0.0)),
            (Self::Any, Value::Integer(_) | Value::Choice(_) | Value::Flag(_)) => Ok(value.clone()),
            (Self::Word(words), Value::Choice(word)) => Err(one_of_near(words, word)),
            _ => Err(self.expected()),
        }
    }
}

/// A number, for keys that no search reaches.
pub(super) fn read_number(node: &Node<'_>, bounds: Bounds<f64>) -> Result<f64, Diagnostic> {
    let kind = Kind::Number(bounds);
    let refused = || node.refused(&kind.expected());
    let given = node.scalar().map_err(|_| refused())?;
    kind.admit(&given).ok().and_then(|value| f64::from_value(&value)).ok_or_else(refused)
}

fn check_parameter_name(node: &Node<'_>, name: &str) -> Result<(), Diagnostic> {
    if is_parameter_name(name) {
        return Ok(());
    }
    Err(node.error(format!("{} is {}; {NAME_RULE}", node.place, node.quoted())))
}

/// Says what [`is_parameter_name`] accepts.
pub(super) const NAME_RULE: &str = "a parameter's name has 1 to 64 letters, digits, `_` and `-`";

/// Whether `name` can name a parameter.
pub(super) fn is_parameter_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=PARAMETER_CHARACTERS_MAX).contains(&name.len()) && name.bytes().all(allowed)
}
