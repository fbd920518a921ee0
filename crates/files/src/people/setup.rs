//! Set-up: who holds the link that a first start has printed becomes the first admin.
//!
//! 1. [`Files::setup_token`] gives a new token, and the one before counts no more. Kept is a hash of it, by a key of this epoch, as a
//!    session of the built-in account: so it ends by its time, with a rebuild, and with the next one.
//! 2. [`Files::set_up`] takes the one turn there is over all nodes ([`Turn`]), and refuses where somebody has been faster.
//! 3. The admin's record is durable: **the commit point**. From then on the larder is set up, and no token counts.
//!
//! A larder is set up once there is an admin who can log in. The last one stays, so it is for ever, but for a rebuild that lost the
//! secrets and the database with them: its accounts are locked, and the way in is a new link.
//!
//! [`Turn`]: super::turn::Turn

use super::{Kept, turn::Turn};
use crate::{Error, Files, Result, Role, SessionId, User, UserId, UserName, ledger::Session};
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// For how long a set-up link counts.
pub const SETUP_LINK_LASTS: Duration = Duration::from_secs(30 * 60);

impl Files {
    /// Whether there is an admin who can log in.
    ///
    /// # Errors
    /// Only the ledger's own.
    pub async fn is_set_up(&self) -> Result<bool> {
        let is_way_in =
            |user: &User| user.role == Role::Admin && user.gone_at.is_none() && user.password_hash.is_some();
        Ok(self.users().await?.iter().any(is_way_in))
    }

    /// A new token for [`Files::set_up`], of 256 random bits, that counts for [`SETUP_LINK_LASTS`]; the one before ends.
    ///
    /// # Errors
    /// `Gone` once the larder is set up; a provisional index takes no users.
    pub async fn setup_token(&self) -> Result<String> {
        self.0.check_whole()?;
        self.check_not_set_up().await?;
        self.begin_session_change().await?;
        let environment = &self.0.environment;
        let token = BASE64URL_NOPAD.encode(&environment.random::<32>());
        let now = environment.clock.now();
        let until = now.plus(SETUP_LINK_LASTS);
        let link =
            Session { id: self.link(&token), user: UserId::LOCAL, serial: 1, opened_at: now, until, ends_at: until };
        self.0.ledger.open_session(&link, None, 1, now).await?;
        self.0.mark_soon();
        Ok(token)
    }

    /// Whether [`Files::set_up`] would take this token now.
    ///
    /// # Errors
    /// `Gone` once the larder is set up.
    pub async fn is_setup_token(&self, token: &str) -> Result<bool> {
        self.check_not_set_up().await?;
        let link = self.0.ledger.session(self.link(token)).await?;
        let now = self.0.environment.clock.now();
        Ok(link.is_some_and(|link| link.user == UserId::LOCAL && link.is_open(now)))
    }

    /// Makes the first admin, durably. Of several at once exactly one succeeds.
    ///
    /// # Errors
    /// `Gone` once the larder is set up; `NotFound` of a token that doesn't count; `Conflict` of a name that is, or ever was, another's;
    /// `Busy` where others who change admins take too long.
    pub async fn set_up(&self, token: &str, name: UserName, password_hash: String) -> Result<User> {
        self.0.begin_change().await?;
        self.0.check_whole()?;
        let (files, token) = (self.clone(), token.to_owned());
        self.complete(async move {
            let turn = files.0.take_turn().await?;
            let result = files.set_up_in_turn(&token, name, password_hash, &turn).await;
            turn.end().await;
            result
        })
        .await
    }

    async fn set_up_in_turn(
        &self,
        token: &str,
        name: UserName,
        password_hash: String,
        turn: &Arc<Turn>,
    ) -> Result<User> {
        if !self.is_setup_token(token).await? {
            return Err(Error::NotFound("set-up link"));
        }
        let admin = self.new_user(name, Role::Admin, Some(password_hash)).await?;
        let admin = self.0.write_user(admin, Some(turn.clone() as Kept)).await?;
        // It counts no more, now that there is an admin; its row goes.
        if let Err(error) = self.0.ledger.end_session(self.link(token)).await {
            tracing::warn!(%error, "a set-up link that was used ends by its time");
        }
        Ok(admin)
    }

    async fn check_not_set_up(&self) -> Result<()> {
        if self.is_set_up().await? { Err(Error::Gone) } else { Ok(()) }
    }

    /// Where a token is kept: who reads the ledger does not learn it.
    fn link(&self, token: &str) -> SessionId {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&self.signing_key("setup")).expect("any length will do");
        mac.update(token.as_bytes());
        let hash = mac.finalize().into_bytes();
        let (half, _) = hash.split_first_chunk().expect("a hash has 32 bytes");
        SessionId(Uuid::from_bytes(*half))
    }
}
