//! CLUSTER, which a standalone Redis does not have.

use super::builder::{container, read, refused};
use crate::protocol::command::{Class, Flags, RefusalReason, Spec};

pub(super) const ROWS: &[Spec] = &[
    refused("asking", 1, RefusalReason::NoCluster),
    container("cluster", -2, CLUSTER),
    read("clusterscan", -2).class(Class::Refused(RefusalReason::NoCluster)),
    refused("readonly", 1, RefusalReason::NoCluster),
    refused("readwrite", 1, RefusalReason::NoCluster),
];

const CLUSTER: &[Spec] = &[
    refused("cluster|addslots", -3, RefusalReason::NoCluster).flags(Flags::ADMIN),
    refused("cluster|addslotsrange", -4, RefusalReason::NoCluster).flags(Flags::ADMIN),
    refused("cluster|bumpepoch", 2, RefusalReason::NoCluster).flags(Flags::ADMIN),
    refused("cluster|cancelslotmigrations", 2, RefusalReason::NoCluster).flags(Flags::ADMIN),
    refused("cluster|count-failure-reports", 3, RefusalReason::NoCluster).flags(Flags::ADMIN),
    refused("cluster|countkeysinslot", 3, RefusalReason::NoCluster),
    refused("cluster|delslots", -3, RefusalReason::NoCluster).flags(Flags::ADMIN),
    refused("cluster|delslotsrange", -4, RefusalReason::NoCluster).flags(Flags::ADMIN),
    refused("cluster|failover", -2, RefusalReason::NoCluster).flags(Flags::ADMIN),
    refused("cluster|flushslot", -3, RefusalReason::NoCluster).flags(Flags::WRITE).flags(Flags::ADMIN),
    refused("cluster|flushslots", 2, RefusalReason::NoCluster).flags(Flags::ADMIN),
    refused("cluster|forget", 3, RefusalReason::NoCluster).flags(Flags::ADMIN),
    refused("cluster|getkeysinslot", 4, RefusalReason::NoCluster),
    refused("cluster|getslotmigrations", 2, RefusalReason::NoCluster).flags(Flags::ADMIN),
    refused("cluster|help", 2, RefusalReason::NoCluster),
    refused("cluster|info", 2, RefusalReason::NoCluster),
    refused("cluster|keyslot", 3, RefusalReason::NoCluster),
    refused("cluster|links", 2, RefusalReason::NoCluster),
    refused("cluster|meet", -4, RefusalReason::NoCluster).flags(Flags::ADMIN),
    refused("cluster|migrateslots", -4, RefusalReason::NoCluster).flags(Flags::ADMIN),
    refused("cluster|myid", 2, RefusalReason::NoCluster),
    refused("cluster|myshardid", 2, RefusalReason::NoCluster),
    refused("cluster|nodes", 2, RefusalReason::NoCluster),
    refused("cluster|replicas", 3, RefusalReason::NoCluster).flags(Flags::ADMIN),
    refused("cluster|replicate", -3, RefusalReason::NoCluster).flags(Flags::ADMIN),
    refused("cluster|reset", -2, RefusalReason::NoCluster).flags(Flags::ADMIN),
    refused("cluster|saveconfig", 2, RefusalReason::NoCluster).flags(Flags::ADMIN),
    refused("cluster|set-config-epoch", 3, RefusalReason::NoCluster).flags(Flags::ADMIN),
    refused("cluster|setslot", -4, RefusalReason::NoCluster).flags(Flags::ADMIN),
    refused("cluster|shards", 2, RefusalReason::NoCluster),
    refused("cluster|slaves", 3, RefusalReason::NoCluster).flags(Flags::ADMIN),
    refused("cluster|slot-stats", -4, RefusalReason::NoCluster),
    refused("cluster|slots", 2, RefusalReason::NoCluster),
    refused("cluster|syncslots", -3, RefusalReason::NoCluster).flags(Flags::ADMIN),
];
