//! What has to be known of a command: whether it may run twice, and which key decides where.

use ::redis::{Arg, Cmd};

/// Commands after which everything is the same whether they ran once or twice.
const IDEMPOTENT: &str = "GET MGET STRLEN EXISTS TTL PTTL TYPE SET SETEX PSETEX MSET DEL UNLINK EXPIRE PEXPIRE EXPIREAT \
                          PEXPIREAT PERSIST HGET HMGET HGETALL SMEMBERS SISMEMBER ZRANGE ZCARD PING INFO DBSIZE";
/// Those of them that have conditions.
const CONDITIONAL: &str = "SET EXPIRE PEXPIRE EXPIREAT PEXPIREAT";
/// Options that make an answer depend on what was there before.
const CONDITIONS: &str = "NX XX GET GT LT IFEQ IFNE IFDEQ IFDNE";
/// Commands about no key.
const KEYLESS: &str = "PING INFO DBSIZE PUBLISH SCRIPT CLUSTER";
/// Commands that say how many of their arguments are keys.
const SCRIPTS: &str = "EVAL EVALSHA EVAL_RO EVALSHA_RO FCALL FCALL_RO";

/// Whether it may be sent again when it is not known whether it ran. A script may not: nobody knows what is in it.
pub(super) fn is_idempotent(command: &Cmd) -> bool {
    let name = argument(command, 0).unwrap_or_default();
    let conditional =
        is_one_of(name, CONDITIONAL) && arguments(command).skip(3).any(|argument| is_one_of(argument, CONDITIONS));
    is_one_of(name, IDEMPOTENT) && !conditional
}

/// The key that decides which node of a cluster runs it.
pub(super) fn key_of(command: &Cmd) -> Option<&[u8]> {
    let name = argument(command, 0)?;
    if is_one_of(name, KEYLESS) {
        return None;
    }
    if is_one_of(name, SCRIPTS) {
        // Script, number of keys, keys.
        return argument(command, 2).filter(|count| *count != b"0").and_then(|_| argument(command, 3));
    }
    argument(command, 1)
}

fn arguments(command: &Cmd) -> impl Iterator<Item = &[u8]> {
    command.args_iter().map(|argument| match argument {
        Arg::Simple(bytes) => bytes,
        Arg::Cursor => b"0",
        // Further kinds are none of ours.
        _ => b"",
    })
}

fn argument(command: &Cmd, index: usize) -> Option<&[u8]> {
    arguments(command).nth(index)
}

fn is_one_of(word: &[u8], names: &str) -> bool {
    names.split_ascii_whitespace().any(|name| word.eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &str) -> Cmd {
        let mut words = words.split(' ');
        let mut command = ::redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            command.arg(word);
        });
        command
    }

    #[test]
    fn only_what_does_no_harm_may_run_twice() {
        for words in ["GET a", "set a b PX 5", "SET a b", "DEL a", "pexpire a 5", "SET NX GET"] {
            assert!(is_idempotent(&command(words)), "{words}");
        }
        for words in
            ["INCR a", "SET a b NX PX 5", "set a b get", "PEXPIRE a 5 NX", "EVALSHA abc 1 a", "PUBLISH a b", "GETDEL a"]
        {
            assert!(!is_idempotent(&command(words)), "{words}");
        }
    }

    #[test]
    fn the_key_of_a_script_is_its_first() {
        let key = |words: &str| key_of(&command(words)).map(|key| String::from_utf8(key.to_vec()).unwrap());
        assert_eq!(key("GET a").as_deref(), Some("a"));
        assert_eq!(key("evalsha abc 2 k1 k2 x").as_deref(), Some("k1"));
        assert_eq!(key("EVAL return 0 x"), None);
        assert_eq!(key("PUBLISH channel message"), None);
        assert_eq!(key("PING"), None);
    }
}
