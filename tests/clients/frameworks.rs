//! Queues, caches, sessions and locks of frameworks with their defaults: no option for a cluster is set.

use crate::harness::passes_by_default;
use crate::node::node;
use crate::php::php;
use crate::python::{python, python_older};
use crate::ruby::ruby;

#[test]
fn arq() {
    passes_by_default(|| python_older("arq_jobs.py"));
}

#[test]
fn bee_queue() {
    passes_by_default(|| node("bee_queue.mjs"));
}

#[test]
fn bull() {
    passes_by_default(|| node("bull.mjs"));
}

#[test]
fn bullmq() {
    passes_by_default(|| node("bullmq.mjs"));
}

#[test]
fn celery() {
    passes_by_default(|| python("celery_jobs.py"));
}

#[test]
fn django() {
    passes_by_default(|| python("django_site.py"));
}

#[test]
fn dramatiq() {
    passes_by_default(|| python("dramatiq_jobs.py"));
}

#[test]
fn express() {
    passes_by_default(|| node("express_site.mjs"));
}

#[test]
fn flask_session() {
    passes_by_default(|| python("flask_sessions.py"));
}

#[test]
fn huey() {
    passes_by_default(|| python("huey_jobs.py"));
}

#[test]
fn laravel() {
    passes_by_default(|| php("laravel.php"));
}

#[test]
fn limits_and_locks_of_node() {
    passes_by_default(|| node("limits_and_locks.mjs"));
}

#[test]
fn limits_and_locks_of_python() {
    passes_by_default(|| python("limits_and_locks.py"));
}

#[test]
fn node_resque() {
    passes_by_default(|| node("node_resque.mjs"));
}

#[test]
fn pottery() {
    passes_by_default(|| python_older("pottery_locks.py"));
}

#[test]
fn rq() {
    passes_by_default(|| python("rq_jobs.py"));
}

#[test]
fn sidekiq() {
    passes_by_default(|| ruby("sidekiq_jobs.rb"));
}

#[test]
fn socket_io() {
    passes_by_default(|| node("socket_io.mjs"));
}
