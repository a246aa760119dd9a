//! The attributes of a node, by name.

use crate::error::{OnnxError, shown};
use crate::messages::{Attribute, NodeMessage};

/// What a node does beyond its inputs.
impl NodeMessage {
    /// What it does.
    pub(crate) fn kind(&self) -> &str {
        self.op_type.as_deref().unwrap_or_default()
    }

    /// Whether it is one of the machine learning operators, which `kind` tells apart.
    pub(crate) fn is_learned(&self) -> bool {
        self.domain.as_deref() == Some("ai.onnx.ml")
    }

    fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
    }

    /// Numbers: a list, or a tensor in its place, as `nodes_values_as_tensor`.
    pub(crate) fn floats(&self, name: &str) -> Result<Vec<f32>, OnnxError> {
        let tensor = self.attribute(&format!("{name}_as_tensor")).and_then(|attribute| attribute.tensor.as_ref());
        match (self.attribute(name), tensor) {
            (Some(attribute), _) => Ok(attribute.floats.clone()),
            (None, Some(tensor)) => Ok(tensor.numbers()?.into_iter().map(|number| number as f32).collect()),
            (None, None) => Ok(Vec::new()),
        }
    }

    /// Whole numbers.
    pub(crate) fn ints(&self, name: &str) -> &[i64] {
        self.attribute(name).map_or(&[], |attribute| &attribute.ints)
    }

    /// A whole number.
    pub(crate) fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name)?.int
    }

    /// A number.
    pub(crate) fn float(&self, name: &str) -> Option<f32> {
        self.attribute(name)?.float
    }

    /// Texts.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        let texts = self.attribute(name).map_or(&[][..], |attribute| &attribute.texts);
        texts.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    }

    /// A text; `default` where there is none.
    pub(crate) fn text(&self, name: &str, default: &str) -> String {
        let text = self.attribute(name).and_then(|attribute| attribute.text.as_ref());
        text.map_or_else(|| default.to_owned(), |text| String::from_utf8_lossy(text).into_owned())
    }

    /// What classes are called, in their order: whole numbers as they are written, or words.
    pub(crate) fn class_labels(&self) -> Vec<String> {
        for name in ["classlabels_strings", "classlabels_string"] {
            let texts = self.texts(name);
            if !texts.is_empty() {
                return texts;
            }
        }
        let ints = [self.ints("classlabels_ints"), self.ints("classlabels_int64s")].concat();
        ints.iter().map(i64::to_string).collect()
    }

    /// Its first input.
    pub(crate) fn first_input(&self) -> &str {
        self.input.first().map_or("", String::as_str)
    }

    /// The refusal of something that it does, with what to do.
    pub(crate) fn refused(&self, what: &str) -> OnnxError {
        OnnxError::Unsupported(format!(
            "the operator {} (node `{}`) {what}",
            shown(self.kind()),
            shown(self.name.as_deref().unwrap_or_default())
        ))
    }
}
