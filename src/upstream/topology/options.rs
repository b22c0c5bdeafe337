//! What the topology is asked of, how, and how often.

use std::time::Duration;

use crate::upstream::options::{Deployment, UpstreamOptions};

/// What the topology needs to know.
#[derive(Clone, Debug)]
pub struct TopologyOptions {
    /// What is asked.
    pub deployment: Deployment,
    /// The configured names of a cluster alone are asked, and no nodes that it named itself.
    pub configured_only: bool,
    /// How those are spoken to that are asked: as whom, how long each step may take, and how long an answer
    /// may be.
    pub connection: UpstreamOptions,
    /// How often it is asked without a reason.
    pub refresh_interval: Duration,
    /// How much time lies between two refreshes at least, whatever the reasons.
    pub refresh_gap_min: Duration,
}
