//! Whose instructions are whose: executed addresses, looked up in the debug information of the measured program, inlined
//! functions included. So the program that is counted is the one that is measured, optimised and all.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use addr2line::Loader;
use anyhow::{Context as _, bail};

use super::groups::{Function, Group, Part};
use crate::callgrind::Instructions;

/// Where the standard library's source lay when it was built.
const STANDARD_LIBRARY: &str = "/library/";

/// A function that an instruction belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Frame {
    file: String,
    name: String,
}

impl Function {
    fn is(&self, frame: &Frame) -> bool {
        frame.name == self.name && frame.file.ends_with(self.file)
    }

    /// Whether an instruction with these frames, the innermost first, is counted for this function.
    fn owns(&self, frames: &[Frame]) -> bool {
        let Some(position) = frames.iter().position(|frame| self.is(frame)) else { return false };
        match self.part {
            Part::Whole => true,
            Part::Itself => frames[..position].iter().all(|inner| inner.file.contains(STANDARD_LIBRARY)),
        }
    }
}

/// The instructions of each group, in their order.
///
/// # Errors
/// A function of a group took none.
pub(super) fn attribute(program: &Path, instructions: &Instructions, groups: &[Group]) -> anyhow::Result<Vec<u64>> {
    let loader = Loader::new(program)
        .map_err(|error| anyhow::anyhow!("{error}"))
        .with_context(|| format!("reading the debug information of {}", program.display()))?;
    let callees = instructions.calls.keys().map(|(_, callee)| callee);
    let addresses: HashSet<_> =
        instructions.own.keys().chain(instructions.calls.keys().map(|(at, _)| at)).chain(callees).collect();
    let frames = addresses
        .into_iter()
        .map(|address| Ok((*address, frames(&loader, *address)?)))
        .collect::<anyhow::Result<HashMap<_, _>>>()?;
    count(&frames, instructions, groups)
}

fn count(frames: &HashMap<u64, Vec<Frame>>, instructions: &Instructions, groups: &[Group]) -> anyhow::Result<Vec<u64>> {
    let mut counts = Vec::new();
    let mut missing = Vec::new();
    for group in groups {
        let owner = |address: &u64| group.functions.iter().find(|function| function.owns(&frames[address]));
        let mut reached = HashSet::new();
        let mut count = 0;
        for (at, own) in &instructions.own {
            if let Some(function) = owner(at) {
                reached.insert(function);
                count += own;
            }
        }
        for ((at, callee), inclusive) in &instructions.calls {
            let whole = owner(at).is_some_and(|function| function.part == Part::Whole);
            // The instructions of a callee that is of the group are counted above.
            if whole && owner(callee).is_none() {
                count += inclusive;
            }
        }
        let unreached = group.functions.iter().filter(|function| !reached.contains(function));
        missing.extend(unreached.map(|Function { file, name, .. }| format!("`{name}` of {file} ({})", group.concern)));
        counts.push(count);
    }
    if !missing.is_empty() {
        bail!(
            "no instruction of a request belongs to {}. It was renamed or moved, or a request does not reach it any more: \
             put bench/harness/src/commands/concerns/groups.rs right",
            missing.join(", ")
        );
    }
    Ok(counts)
}

/// The functions that the instruction at this address belongs to, the innermost first.
fn frames(loader: &Loader, address: u64) -> anyhow::Result<Vec<Frame>> {
    let unreadable = || format!("looking up the address {address:#x}");
    let mut found = Vec::new();
    let mut frames =
        loader.find_frames(address).map_err(|error| anyhow::anyhow!("{error}")).with_context(unreadable)?;
    while let Some(frame) = frames.next().with_context(unreadable)? {
        let name = match &frame.function {
            Some(function) => short(&function.demangle().with_context(unreadable)?).to_owned(),
            None => String::new(),
        };
        let file = frame.location.and_then(|location| location.file).unwrap_or_default().to_owned();
        found.push(Frame { file, name });
    }
    Ok(found)
}

/// `finish` of `covet_http::pipeline::Exchange::finish`, `catch` of `catch<(), {closure#0}>`.
fn short(name: &str) -> &str {
    let generic = name.find('<').filter(|position| *position > 0).unwrap_or(name.len());
    name[..generic].rsplit("::").next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{Frame, count, short};
    use crate::callgrind::Instructions;
    use crate::commands::concerns::groups::{Function, Group, Part};

    fn frame(file: &str, name: &str) -> Frame {
        Frame { file: file.to_owned(), name: name.to_owned() }
    }

    const fn function(name: &'static str, part: Part) -> Function {
        Function { file: "src/concern.rs", name, part }
    }

    /// `write` at 1 with `push` inlined, which calls a library (10) and `finish` (2), which is of the group too; `enter` at 4
    /// runs a handler (5) in itself and calls another (20).
    fn world() -> (HashMap<u64, Vec<Frame>>, Instructions) {
        let (write, push) = (frame("/a/src/concern.rs", "write"), frame("/a/src/other.rs", "push"));
        let (enter, handler) = (frame("/a/src/concern.rs", "enter"), frame("/a/src/handler.rs", "answer"));
        let inner = frame("/rustc/1/library/core/src/cell.rs", "get");
        let frames = HashMap::from([
            (1, vec![push, write.clone()]),
            (2, vec![frame("/a/src/concern.rs", "finish")]),
            (3, vec![write]),
            (4, vec![inner, enter.clone()]),
            (5, vec![handler, enter]),
            (10, vec![]),
            (20, vec![]),
        ]);
        let own = HashMap::from([(1, 3), (2, 100), (3, 7), (4, 11), (5, 1000)]);
        (frames, Instructions { own, calls: HashMap::from([((1, 10), 50), ((3, 2), 100), ((4, 20), 5000)]) })
    }

    #[test]
    fn a_whole_function_counts_with_what_is_inlined_and_called_but_nothing_twice() {
        let (frames, instructions) = world();
        let functions = const { &[function("write", Part::Whole), function("finish", Part::Whole)] };
        let counts = count(&frames, &instructions, &[Group { concern: "log", functions }]).unwrap();
        assert_eq!(counts, [3 + 7 + 50 + 100]);
    }

    #[test]
    fn a_function_itself_counts_without_what_it_runs() {
        let (frames, instructions) = world();
        let functions = const { &[function("enter", Part::Itself)] };
        assert_eq!(count(&frames, &instructions, &[Group { concern: "scope", functions }]).unwrap(), [11]);
    }

    #[test]
    fn a_function_that_is_gone_is_an_error_that_names_it() {
        let (frames, instructions) = world();
        let functions = const { &[function("write", Part::Whole), function("written", Part::Whole)] };
        let error = count(&frames, &instructions, &[Group { concern: "log", functions }]).unwrap_err().to_string();
        assert!(error.contains("`written` of src/concern.rs (log)") && !error.contains("`write`"), "{error}");
    }

    #[test]
    fn a_name_is_told_without_path_and_generics() {
        assert_eq!(short("covet_http::pipeline::exchange::Exchange::finish"), "finish");
        assert_eq!(short("catch<core::task::Poll<()>, a::b::{closure#0}>"), "catch");
        assert_eq!(short("{closure#1}"), "{closure#1}");
    }
}
