//! Makes small BTF.

use super::super::Btf;

pub const INT: u32 = 1;
pub const POINTER: u32 = 2;
pub const ARRAY: u32 = 3;
pub const STRUCT: u32 = 4;
pub const UNION: u32 = 5;
pub const ENUM: u32 = 6;
pub const FORWARD: u32 = 7;
pub const TYPEDEF: u32 = 8;
pub const VOLATILE: u32 = 9;
pub const CONST: u32 = 10;
pub const RESTRICT: u32 = 11;
pub const FUNCTION: u32 = 12;
pub const PROTOTYPE: u32 = 13;
pub const VARIABLE: u32 = 14;
pub const SECTION: u32 = 15;
pub const FLOAT: u32 = 16;
pub const DECL_TAG: u32 = 17;
pub const TYPE_TAG: u32 = 18;
pub const ENUM64: u32 = 19;

/// `kind_flag`.
pub const FLAG: u32 = 1 << 31;

/// BTF that is being made.
pub struct Builder {
    pub types: Vec<u8>,
    pub strings: Vec<u8>,
    pub count: u32,
}

impl Builder {
    pub fn new() -> Self {
        Self { types: Vec::new(), strings: vec![0], count: 0 }
    }

    /// Puts a name into the string section and says where it is.
    pub fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.strings.len()).unwrap();
        self.strings.extend(name.bytes().chain([0]));
        at
    }

    /// Adds a record: `info` is the kind, the flag and how many parts it has; `tail` is what follows.
    pub fn add(&mut self, name: &str, info: u32, parts: usize, value: u32, tail: &[u32]) -> u32 {
        let name = self.name(name);
        let info = (info & 0x7f) << 24 | info & FLAG | u32::try_from(parts).unwrap();
        for word in [name, info, value].iter().chain(tail) {
            self.types.extend(word.to_ne_bytes());
        }
        self.count += 1;
        self.count
    }

    /// An integer of `size` bytes.
    pub fn int(&mut self, name: &str, size: u32, signed: bool) -> u32 {
        self.add(name, INT, 0, size, &[(u32::from(signed) << 24) | (size * 8)])
    }

    pub fn array(&mut self, element: u32, len: u32) -> u32 {
        self.add("", ARRAY, 0, 0, &[element, element, len])
    }

    /// A struct or union of (name, type, place in bits) members.
    pub fn members(&mut self, kind: u32, name: &str, size: u32, members: &[(&str, u32, u32)]) -> u32 {
        let tail: Vec<u32> =
            members.iter().flat_map(|(name, type_, place)| [self.name(name), *type_, *place]).collect();
        self.add(name, kind, members.len(), size, &tail)
    }

    pub fn enumeration(&mut self, info: u32, name: &str, values: &[(&str, i64)]) -> u32 {
        let wide = info & 0x7f == ENUM64;
        let mut tail = Vec::new();
        for (name, value) in values {
            let value = value.cast_unsigned();
            tail.push(self.name(name));
            tail.push(u32::try_from(value & 0xffff_ffff).unwrap());
            tail.extend(wide.then_some(u32::try_from(value >> 32).unwrap()));
        }
        self.add(name, info, values.len(), if wide { 8 } else { 4 }, &tail)
    }

    pub fn prototype(&mut self, returns: u32, params: &[(&str, u32)]) -> u32 {
        let tail: Vec<u32> = params.iter().flat_map(|(name, type_)| [self.name(name), *type_]).collect();
        self.add("", PROTOTYPE, params.len(), returns, &tail)
    }

    /// The file, with `more` words at the end of its header.
    pub fn file_with(&self, more: &[u32]) -> Vec<u8> {
        let types = u32::try_from(self.types.len()).unwrap();
        let strings = u32::try_from(self.strings.len()).unwrap();
        let mut file = 0xeb9f_u16.to_ne_bytes().to_vec();
        file.extend([1, 0]);
        let header = 24 + 4 * u32::try_from(more.len()).unwrap();
        for word in [header, 0, types, types, strings].iter().chain(more) {
            file.extend(word.to_ne_bytes());
        }
        file.extend(&self.types);
        file.extend(&self.strings);
        file
    }

    pub fn file(&self) -> Vec<u8> {
        self.file_with(&[])
    }

    pub fn btf(&self) -> Btf {
        Btf::parse(self.file()).unwrap()
    }
}

/// BTF with every kind of type, in which the names that [`ask_everything`] asks for mean something.
pub fn every_kind() -> Builder {
    let mut b = Builder::new();
    let int = b.int("int", 4, true);
    let long = b.int("long unsigned int", 8, false);
    let char_ = b.int("char", 1, true);
    let double = b.add("double", FLOAT, 0, 8, &[]);
    let forward = b.add("elsewhere", FORWARD, 0, 0, &[]);
    let constant = b.add("", CONST, 0, char_, &[]);
    let volatile = b.add("", VOLATILE, 0, long, &[]);
    let restrict = b.add("", RESTRICT, 0, volatile, &[]);
    let tag = b.add("rcu", TYPE_TAG, 0, restrict, &[]);
    let wrapped = b.add("wrapped_t", TYPEDEF, 0, tag, &[]);
    let text = b.add("", POINTER, 0, constant, &[]);
    let to_forward = b.add("", POINTER, 0, forward, &[]);
    let four = b.array(long, 4);
    let grid = b.array(four, 3);
    let rest = b.array(text, 0);
    let counter = b.members(STRUCT, "", 8, &[("counter", long, 0)]);
    let atomic = b.add("atomic_t", TYPEDEF, 0, counter, &[]);
    let two = b.array(long, 2);
    let pair = b.members(STRUCT, "pair", 24, &[("count", atomic, 0), ("grid", two, 64)]);
    let pairs = b.array(pair, 2);
    let bits = b.members(STRUCT | FLAG, "", 8, &[("low", int, 3 << 24), ("high", int, 5 << 24 | 0x1e)]);
    let either = b.members(UNION, "", 8, &[("whole", wrapped, 0), ("real", double, 0), ("", bits, 0)]);
    let color = b.enumeration(ENUM | FLAG, "color", &[("RED", -1), ("GREEN", 2)]);
    b.enumeration(ENUM, "", &[("LOOSE", 7)]);
    let wide = b.enumeration(ENUM64 | FLAG, "wide", &[("LOWEST", i64::MIN), ("ONE", 1)]);
    let host = b.members(
        STRUCT,
        "host",
        400,
        &[
            ("id", int, 0),
            ("color", color, 32),
            ("", either, 64),
            ("text", text, 128),
            ("next", to_forward, 192),
            ("pairs", pairs, 256),
            ("grid", grid, 640),
            ("wide", wide, 1408),
            ("tail", rest, 1472),
        ],
    );
    let to_host = b.add("", POINTER, 0, host, &[]);
    let call = b.prototype(int, &[("host", to_host), ("flags", wrapped)]);
    let function = b.add("start", FUNCTION, 1, call, &[]);
    let to_call = b.add("", POINTER, 0, call, &[]);
    b.add("start_t", TYPEDEF, 0, to_call, &[]);
    let printer = b.prototype(0, &[("format", text), ("", 0)]);
    b.add("log", FUNCTION, 0, printer, &[]);
    let variable = b.add("jiffies", VARIABLE, 0, long, &[1]);
    b.add(".data", SECTION, 1, 8, &[variable, 0, 8]);
    b.add("kfunc", DECL_TAG, 0, function, &[u32::MAX]);
    b
}

/// Asks every kind of question about the names in [`every_kind`], and for names that are nowhere.
pub fn ask_everything(btf: &Btf) -> usize {
    let mut answers = 0;
    for of in ["host", "pair", "atomic_t", "elsewhere", "int", "nobody", ""] {
        answers += usize::from(btf.strukt(of).is_ok());
        for path in [
            "id",
            "color",
            "whole",
            "low",
            "high",
            "next.id",
            "pairs[1].count.counter",
            "grid[2][3]",
            "tail[9]",
            "wide",
            "none",
            "a..b",
            "",
        ] {
            answers += usize::from(btf.member(of, path).is_ok());
        }
    }
    for of in ["color", "wide", "host", ""] {
        for value in ["RED", "GREEN", "LOOSE", "LOWEST", "NONE"] {
            answers += usize::from(btf.enum_value(of, value).is_ok());
        }
    }
    for name in ["start", "start_t", "log", "wrapped_t", "host"] {
        answers += usize::from(btf.function(name).is_ok());
        answers += usize::from(btf.typedef_prototype(name).is_ok());
    }
    answers
}
