//! What an attacker would try, against the running service. Cases that need no whole service have their test beside the code; all
//! of them are listed in `docs/security.md`.

mod browsers;
mod forged_tokens;
mod guessing;
mod identity;
mod injection;
mod passwords;
mod planted_secrets;
