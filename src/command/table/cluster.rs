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
    refused("cluster|addslots", -3, Refusal::NoCluster).flags(Flags::ADMIN),
    refused("cluster|addslotsrange", -4, Refusal::NoCluster).flags(Flags::ADMIN),
    refused("cluster|bumpepoch", 2, Refusal::NoCluster).flags(Flags::ADMIN),
    refused("cluster|cancelslotmigrations", 2, Refusal::NoCluster).flags(Flags::ADMIN),
    refused("cluster|count-failure-reports", 3, Refusal::NoCluster).flags(Flags::ADMIN),
    refused("cluster|countkeysinslot", 3, Refusal::NoCluster),
    refused("cluster|delslots", -3, Refusal::NoCluster).flags(Flags::ADMIN),
    refused("cluster|delslotsrange", -4, Refusal::NoCluster).flags(Flags::ADMIN),
    refused("cluster|failover", -2, Refusal::NoCluster).flags(Flags::ADMIN),
    refused("cluster|flushslot", -3, Refusal::NoCluster).flags(Flags::WRITE).flags(Flags::ADMIN),
    refused("cluster|flushslots", 2, Refusal::NoCluster).flags(Flags::ADMIN),
    refused("cluster|forget", 3, Refusal::NoCluster).flags(Flags::ADMIN),
    refused("cluster|getkeysinslot", 4, Refusal::NoCluster),
    refused("cluster|getslotmigrations", 2, Refusal::NoCluster).flags(Flags::ADMIN),
    refused("cluster|help", 2, Refusal::NoCluster),
    refused("cluster|info", 2, Refusal::NoCluster),
    refused("cluster|keyslot", 3, Refusal::NoCluster),
    refused("cluster|links", 2, Refusal::NoCluster),
    refused("cluster|meet", -4, Refusal::NoCluster).flags(Flags::ADMIN),
    refused("cluster|migrateslots", -4, Refusal::NoCluster).flags(Flags::ADMIN),
    refused("cluster|myid", 2, Refusal::NoCluster),
    refused("cluster|myshardid", 2, Refusal::NoCluster),
    refused("cluster|nodes", 2, Refusal::NoCluster),
    refused("cluster|replicas", 3, Refusal::NoCluster).flags(Flags::ADMIN),
    refused("cluster|replicate", -3, Refusal::NoCluster).flags(Flags::ADMIN),
    refused("cluster|reset", -2, Refusal::NoCluster).flags(Flags::ADMIN),
    refused("cluster|saveconfig", 2, Refusal::NoCluster).flags(Flags::ADMIN),
    refused("cluster|set-config-epoch", 3, Refusal::NoCluster).flags(Flags::ADMIN),
    refused("cluster|setslot", -4, Refusal::NoCluster).flags(Flags::ADMIN),
    refused("cluster|shards", 2, Refusal::NoCluster),
    refused("cluster|slaves", 3, Refusal::NoCluster).flags(Flags::ADMIN),
    refused("cluster|slot-stats", -4, Refusal::NoCluster),
    refused("cluster|slots", 2, Refusal::NoCluster),
    refused("cluster|syncslots", -3, Refusal::NoCluster).flags(Flags::ADMIN),
];
