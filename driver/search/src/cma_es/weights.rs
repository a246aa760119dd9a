//! How much each rank of a generation counts, and how fast what was learnt before is forgotten.

/// What the size of a generation and the number of dimensions say (Hansen, arXiv:1604.00772, table 1).
pub(super) struct RankWeights {
    /// By rank: positive for the better half, with a sum of 1, and negative for the worse.
    pub(super) of_ranks: Vec<f64>,
    /// How many equal weights are as good as the positive ones: the tutorial's `μ_eff`.
    pub(super) effective: f64,
    /// The rate of the path that sets the step: `c_σ`.
    pub(super) step_path_rate: f64,
    /// How slowly the step follows its path: `d_σ`.
    pub(super) damping: f64,
    /// The rate of the path that turns the covariance: `c_c`.
    pub(super) path_rate: f64,
    /// The part of the covariance that this path makes in a generation: `c_1`.
    pub(super) path_part: f64,
    /// The part that all members make: `c_μ`.
    pub(super) ranks_part: f64,
}

impl RankWeights {
    /// Of a generation of so many `members`, at least 2, in so many `dimensions`, at least 1.
    pub(super) fn new(members: usize, dimensions: usize) -> Self {
        let n = dimensions as f64;
        let middle = libm::log(f64::midpoint(members as f64, 1.0));
        let raw: Vec<_> = (1..=members).map(|rank| middle - libm::log(rank as f64)).collect();
        let (best, of_best) = sum_and_effective(raw.iter().copied().filter(|weight| *weight > 0.0));
        let (worst, of_worst) = sum_and_effective(raw.iter().copied().filter(|weight| *weight < 0.0));

        let path_part = 2.0 / ((n + 1.3) * (n + 1.3) + of_best);
        let ranks_part = 2.0 * (0.25 + of_best + 1.0 / of_best - 2.0) / ((n + 2.0) * (n + 2.0) + of_best);
        let ranks_part = ranks_part.min(1.0 - path_part);
        // So that the covariance stays positive definite.
        let total_below = (1.0 + path_part / ranks_part)
            .min(1.0 + 2.0 * of_worst / (of_best + 2.0))
            .min((1.0 - path_part - ranks_part) / (n * ranks_part));
        let scaled = |weight: f64| if weight > 0.0 { weight / best } else { weight / -worst * total_below };

        let step_path_rate = (of_best + 2.0) / (n + of_best + 5.0);
        let excess = libm::sqrt((of_best - 1.0).max(0.0) / (n + 1.0)) - 1.0;
        Self {
            of_ranks: raw.into_iter().map(scaled).collect(),
            effective: of_best,
            step_path_rate,
            damping: 1.0 + 2.0 * excess.max(0.0) + step_path_rate,
            path_rate: (4.0 + of_best / n) / (n + 4.0 + 2.0 * of_best / n),
            path_part,
            ranks_part,
        }
    }
}

/// The sum of weights, and how many equal ones are as good.
fn sum_and_effective(weights: impl Iterator<Item = f64>) -> (f64, f64) {
    let add = |(sum, squares): (f64, f64), weight: f64| (sum + weight, squares + weight * weight);
    let (sum, squares) = weights.fold((0.0, 0.0), add);
    (sum, sum * sum / squares)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the formulae give for ten dimensions and ten members, worked out by hand.
    #[test]
    fn ten_members_in_ten_dimensions_have_the_weights_of_the_tutorial() {
        let weights = RankWeights::new(10, 10);
        let positive: Vec<_> = weights.of_ranks[..5].iter().map(|weight| (weight * 1e3).round()).collect();
        assert_eq!(positive, [456.0, 271.0, 162.0, 85.0, 26.0]);
        assert!(weights.of_ranks[5..].iter().all(|weight| *weight < 0.0));
        assert!((weights.of_ranks[..5].iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((weights.effective - 3.167).abs() < 1e-3, "{}", weights.effective);
        assert!((weights.path_part - 0.01528).abs() < 1e-5 && (weights.ranks_part - 0.02355).abs() < 1e-5);
        assert!((weights.step_path_rate - 0.28443).abs() < 1e-4 && (weights.damping - 1.28443).abs() < 1e-4);
    }
}
