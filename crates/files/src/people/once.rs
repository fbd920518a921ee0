//! A user who is added by a request that may come again.
//!
//! What the request was answered is kept in the user's sealed record, as that of a file is in its attributes. So a repeat is told of the
//! same user after a crash and after a rebuild, for 24 hours.

use crate::{
    Caller, CreatedByKey, Error, Files, IdempotencyKey, Result, Role, Sha256, User, UserName,
    create::Reserved,
    ledger::{Made, Reservation},
};
use std::sync::Arc;

/// The status that a request is answered which added somebody.
const ADDED: u16 = 201;

impl Files {
    /// As [`Files::add_user`], once: a repeat of `caller`'s request adds nobody, and is answered the user as they are now and the status
    /// of the first answer. Costs a listing of the sealed records on each store.
    ///
    /// # Errors
    /// `Conflict`; `Running`, `KeyReused`; `Gone` of a user who was deleted since.
    pub async fn add_user_once(
        &self,
        caller: &Caller,
        key: IdempotencyKey,
        name: UserName,
        role: Role,
        password_hash: Option<String>,
    ) -> Result<(User, Option<u16>)> {
        self.0.begin_change().await?;
        self.0.check_whole()?;
        let mut reserved = self.reserve(caller, key).await?;
        if reserved.done.is_none() {
            self.look_for_dead_nodes(&mut reserved).await?;
        }
        // A fast hash of a password, as a request holds one, must not be kept: this one needs the master secret as well.
        let request = self.0.keyed(&[&reserved.request.0]);
        if let Some((first, status, made)) = reserved.done {
            if first != request {
                return Err(Error::KeyReused);
            }
            return Ok((self.made_user(made).await?, Some(status)));
        }
        let made = CreatedByKey { key: reserved.key, request, status: ADDED, at: self.0.environment.clock.now() };
        let user = User { created_by_key: Some(made), ..self.new_user(name, role, password_hash).await? };
        let (node, held) = (self.0.clone(), Arc::new(reserved));
        Ok((self.complete(async move { node.write_user(user, Some(held)).await }).await?, None))
    }

    /// A node may have died when its user was durable and its ledger knew nothing of them. Its keys may be given up by now; the record
    /// still says whose this one is.
    async fn look_for_dead_nodes(&self, reserved: &mut Reserved) -> Result<()> {
        self.0.index_sealed().await?;
        let known = self.0.ledger.reserve(reserved.key, &self.0.node, self.0.remembered_since()).await?;
        if let Reservation::Done { request, status, made, .. } = known {
            reserved.done = Some((request, status, made));
        }
        Ok(())
    }

    async fn made_user(&self, made: Made) -> Result<User> {
        let Made::User(id) = made else { return Err(Error::KeyReused) };
        self.user(id).await?.filter(|user| user.gone_at.is_none()).ok_or(Error::Gone)
    }
}

impl crate::files::Node {
    /// A hash that says whether two texts are equal, and to nobody without the master secret what they are.
    pub(crate) fn keyed(&self, parts: &[&[u8]]) -> Sha256 {
        use hmac::{Hmac, KeyInit, Mac};
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&self.secrets.idempotency()).expect("any length will do");
        parts.iter().for_each(|part| mac.update(part));
        Sha256(mac.finalize().into_bytes().into())
    }
}
