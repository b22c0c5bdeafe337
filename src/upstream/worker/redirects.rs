//! Redirected commands go on to the node that the redirect names, once that is believed.

use std::rc::Rc;

use tokio::sync::oneshot;
use tokio::time;

use super::upstream::Upstream;
use crate::clock;
use crate::node::NodeId;
use crate::protocol::resp::encode;
use crate::upstream::call::{Call, Completion, PendingCommand};
use crate::upstream::context::Reroute;
use crate::upstream::error::UpstreamError;
use crate::upstream::redirects::redirect::Redirect;
use crate::upstream::redirects::unconfirmed::{AfterInquiry, UnconfirmedRedirect, Verdict};
use crate::upstream::rights::Right;
use crate::upstream::topology::cluster_nodes::NodeView;
use crate::upstream::topology::node_numbers::NodeIndex;

/// Redirects of one command that are followed.
pub(super) const REDIRECTS_MAX: u8 = 5;

impl Upstream {
    /// Sends commands on that a connection handed back: a redirect is followed if it is true.
    pub(super) fn reroute(self: &Rc<Upstream>, reroute: Reroute) {
        let (redirect, node, waiting, words) = match reroute {
            Reroute::Redirected { redirect, node, command, words } => (redirect, node, command, words),
            Reroute::Suspects { node, commands } => return self.send_suspects(node, commands),
        };
        let (runs_user_code, asking, deadline) =
            (waiting.call.runs_user_code, waiting.asking, waiting.deadline);
        let slot = redirect.slot;
        let then = AfterInquiry::Send(waiting, words);
        let unconfirmed =
            UnconfirmedRedirect { number: 0, node, redirect, runs_user_code, asking, deadline, then };
        if unconfirmed.is_plain(self.table()) && !self.context.unconfirmed.has_slot(slot) {
            let follow = Verdict::Follow(unconfirmed.redirect.clone());
            return self.carry_out(unconfirmed, follow);
        }
        self.hold_back(unconfirmed);
    }

    /// Follows a redirect that a node answered to `waiting`, and that is believed.
    fn redirect(self: &Rc<Upstream>, redirect: Redirect, mut waiting: PendingCommand) {
        self.context.stats.upstream_redirects.add(1);
        waiting.rerouted = true;
        waiting.redirects += 1;
        self.context.note(&redirect);
        let Redirect { slot, node, asking } = redirect;
        if waiting.redirects > REDIRECTS_MAX {
            return waiting.fail(&UpstreamError::TooManyRedirects { slot, redirects_max: REDIRECTS_MAX });
        }
        if waiting.redirects > 1 && !self.context.routes.is_latest(&waiting) {
            // A slot came back to a node that had it before. What was sent after this command is on its way
            // there, or was carried out: this one would come behind it (I6).
            return waiting.answer_moving();
        }
        let connection = self.connection_for(self.index_of(&node), Some(slot), &waiting.call.bytes);
        if let Some(failure) = connection.too_large(&waiting.call, waiting.parts.is_some()) {
            self.context.stats.upstream_too_large.add(1);
            return waiting.fail(&failure);
        }
        waiting.asking = asking;
        if asking {
            // The two must arrive together: neither is sent again after a loss.
            waiting.call.reads_only = false;
            // A SELECT goes before ASKING, which holds for the next command alone.
            let database = waiting.call.database;
            let asking = Call { database, ..Call::without_keys(encode::request(&["ASKING"]), false) };
            let nobody = Completion::Nobody(Right::Asking);
            connection.enqueue(PendingCommand::new(asking, nobody, waiting.deadline));
        }
        connection.enqueue(waiting);
    }

    /// Where a redirect leads that `node` answered, if it is true. `runs_user_code` says whether a script may
    /// have written it.
    pub(super) async fn confirmed(
        self: &Rc<Self>,
        redirect: Redirect,
        node: &NodeId,
        runs_user_code: bool,
    ) -> Option<Redirect> {
        let (sender, receiver) = oneshot::channel();
        let deadline = clock::now() + clock::nanos(self.context.options.request_timeout);
        let (node, then) = (self.index_of(node), AfterInquiry::Answer(sender));
        let unconfirmed =
            UnconfirmedRedirect { number: 0, node, redirect, runs_user_code, asking: false, deadline, then };
        if unconfirmed.is_plain(self.table()) {
            return Some(unconfirmed.redirect);
        }
        self.hold_back(unconfirmed);
        receiver.await.ok().flatten()
    }

    fn hold_back(self: &Rc<Self>, unconfirmed: UnconfirmedRedirect) {
        let node = unconfirmed.node;
        self.context.unconfirmed.put(unconfirmed);
        if self.context.unconfirmed.begin_inquiry(node) {
            tokio::task::spawn_local(self.clone().inquire(node));
        }
    }

    /// Finds out about all that `node` sent, until nothing of it waits.
    async fn inquire(self: Rc<Self>, node: NodeIndex) {
        while let Some(deadline) = self.context.unconfirmed.deadline(node) {
            let _ = time::timeout_at(clock::instant(deadline), self.find_out(node)).await;
            for overdue in self.context.unconfirmed.take_overdue(clock::now()) {
                self.give_up(overdue);
            }
        }
        self.context.unconfirmed.end_inquiry(node);
    }

    /// Asks the node and, if that is not enough, for the owners of all slots.
    async fn find_out(self: &Rc<Self>, node: NodeIndex) {
        let (table, held) = (self.table(), &self.context.unconfirmed);
        time::sleep_until(clock::instant(held.next_question_at(node))).await;
        let next_at = clock::now() + clock::nanos(self.context.options.refresh_gap_min);
        held.put_next_question(node, next_at);
        // What comes from here on is about a later time than the answer.
        let newest = held.came.get();
        let is_asked =
            |unconfirmed: &UnconfirmedRedirect| unconfirmed.node == node && unconfirmed.number <= newest;
        if let Some(view) = self.view_of(node).await {
            table.add_members(&view.names);
            self.decide(|unconfirmed| {
                is_asked(unconfirmed).then(|| unconfirmed.by_view(&view, table)).flatten()
            });
        }
        if held.held.borrow().iter().any(is_asked) {
            self.refreshed_once().await;
            self.decide(|unconfirmed| is_asked(unconfirmed).then(|| unconfirmed.by_table(table)));
        }
    }

    /// What a node says of itself now; `None` when it does not.
    async fn view_of(self: &Rc<Self>, node: NodeIndex) -> Option<NodeView> {
        let (node, bytes) = (self.node(node), encode::request(&["CLUSTER", "NODES"]));
        let call = Call::question(bytes);
        let reply = self.send_to_known(&node, call).reply.await.ok()?.ok()?;
        self.view(&reply.frame, &node)
    }

    fn decide(self: &Rc<Self>, verdict: impl Fn(&UnconfirmedRedirect) -> Option<Verdict>) {
        let plain = |unconfirmed: &UnconfirmedRedirect| {
            unconfirmed.is_plain(self.table()).then(|| Verdict::Follow(unconfirmed.redirect.clone()))
        };
        let decided =
            self.context.unconfirmed.take(|unconfirmed| plain(unconfirmed).or_else(|| verdict(unconfirmed)));
        decided.into_iter().for_each(|(unconfirmed, verdict)| self.carry_out(unconfirmed, verdict));
    }

    fn carry_out(self: &Rc<Self>, unconfirmed: UnconfirmedRedirect, verdict: Verdict) {
        let UnconfirmedRedirect { node, redirect, runs_user_code, then, .. } = unconfirmed;
        if verdict == Verdict::Refuse {
            self.context.stats.upstream_redirects_refused.add(1);
        }
        if verdict == Verdict::Refuse && !runs_user_code {
            let mut refused = self.context.unconfirmed.refused.get();
            if let Some(count) = refused.note(clock::now()) {
                let (node, to, slot) = (self.node(node), redirect.node, redirect.slot);
                tracing::warn!(count, %node, %to, %slot, "redirects to unknown nodes not followed");
            }
            self.context.unconfirmed.refused.set(refused);
        }
        match (then, verdict) {
            (AfterInquiry::Send(waiting, _), Verdict::Follow(redirect)) => self.redirect(redirect, waiting),
            (AfterInquiry::Send(waiting, words), Verdict::Refuse) => waiting.answer(words, false),
            // The caller may be gone.
            (AfterInquiry::Answer(sender), Verdict::Follow(redirect)) => drop(sender.send(Some(redirect))),
            (AfterInquiry::Answer(sender), Verdict::Refuse) => drop(sender.send(None)),
        }
    }

    fn give_up(&self, unconfirmed: UnconfirmedRedirect) {
        let AfterInquiry::Send(waiting, _) = unconfirmed.then else { return };
        self.context.stats.upstream_timeouts.add(1);
        let (node, after) = (self.node(unconfirmed.node), self.context.options.request_timeout);
        waiting.fail(&UpstreamError::TimedOut { node, after });
    }
}
