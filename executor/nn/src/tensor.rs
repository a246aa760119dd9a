//! The tensors of a layer: what they are called, their sides, and what they are for.

/// One tensor of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorPlan {
    /// `layer2.weight`: layers are counted from 1.
    pub name: String,
    /// Its sides.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
}

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Weights of a product: trained, and reached by L2 and weight decay.
    Weight,
    /// Biases and shifts: trained, never penalised. They start at 0.
    Bias,
    /// Scales of batch norm: trained, never penalised. They start at 1.
    Scale,
    /// Running means of batch norm: not trained. They start at 0.
    Mean,
    /// Running variances of batch norm: not trained. They start at 1.
    Variance,
}

impl Role {
    /// Whether the tensor is measured, and not trained.
    #[must_use]
    pub fn is_statistic(self) -> bool {
        match self {
            Self::Weight | Self::Bias | Self::Scale => false,
            Self::Mean | Self::Variance => true,
        }
    }
}

impl TensorPlan {
    /// Values of the tensor.
    #[must_use]
    pub fn values(&self) -> usize {
        self.shape.iter().product()
    }
}
