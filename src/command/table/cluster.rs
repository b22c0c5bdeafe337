//! The cluster, of which a standalone Redis knows nothing.

use super::{container, read, refused};
use crate::command::{Class, Flags, Refusal, Spec};

pub(super) const ROWS: &[Spec] = &[
    refused("asking", 1, Refusal::NoCluster),
    container("cluster", -2, CLUSTER),
    read("clusterscan", -2).class(Class::Refused(Refusal::NoCluster)),
    refused("readonly", 1, Refusal::NoCluster),
    refused("readwrite", 1, Refusal::NoCluster),
];

const CLUSTER: &[Spec] = &[
    refused("cluster|addslots", -3, Refusal::NoCluster),
    refused("cluster|addslotsrange", -4, Refusal::NoCluster),
    refused("cluster|bumpepoch", 2, Refusal::NoCluster),
    refused("cluster|cancelslotmigrations", 2, Refusal::NoCluster),
    refused("cluster|count-failure-reports", 3, Refusal::NoCluster),
    refused("cluster|countkeysinslot", 3, Refusal::NoCluster),
    refused("cluster|delslots", -3, Refusal::NoCluster),
    refused("cluster|delslotsrange", -4, Refusal::NoCluster),
    refused("cluster|failover", -2, Refusal::NoCluster),
    refused("cluster|flushslot", -3, Refusal::NoCluster).flags(Flags::WRITE),
    refused("cluster|flushslots", 2, Refusal::NoCluster),
    refused("cluster|forget", 3, Refusal::NoCluster),
    refused("cluster|getkeysinslot", 4, Refusal::NoCluster),
    refused("cluster|getslotmigrations", 2, Refusal::NoCluster),
    refused("cluster|help", 2, Refusal::NoCluster),
    refused("cluster|info", 2, Refusal::NoCluster),
    refused("cluster|keyslot", 3, Refusal::NoCluster),
    refused("cluster|links", 2, Refusal::NoCluster),
    refused("cluster|meet", -4, Refusal::NoCluster),
    refused("cluster|migrateslots", -4, Refusal::NoCluster),
    refused("cluster|myid", 2, Refusal::NoCluster),
    refused("cluster|myshardid", 2, Refusal::NoCluster),
    refused("cluster|nodes", 2, Refusal::NoCluster),
    refused("cluster|replicas", 3, Refusal::NoCluster),
    refused("cluster|replicate", -3, Refusal::NoCluster),
    refused("cluster|reset", -2, Refusal::NoCluster),
    refused("cluster|saveconfig", 2, Refusal::NoCluster),
    refused("cluster|set-config-epoch", 3, Refusal::NoCluster),
    refused("cluster|setslot", -4, Refusal::NoCluster),
    refused("cluster|shards", 2, Refusal::NoCluster),
    refused("cluster|slaves", 3, Refusal::NoCluster),
    refused("cluster|slot-stats", -4, Refusal::NoCluster),
    refused("cluster|slots", 2, Refusal::NoCluster),
    refused("cluster|syncslots", -3, Refusal::NoCluster),
];
