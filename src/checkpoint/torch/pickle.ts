import { show } from "../../json.js";
import { type CheckpointError, checkpointError } from "../../formats/errors.js";
import { decodeUtf8 } from "../source.js";

/** A class or function that a pickle names. It is never looked up or called. */
export class PickleGlobal {
  /** @param foreignAt  its place in the pickle, if the reader did not allow it */
  constructor(
    readonly name: string,
    readonly foreignAt?: number,
  ) {}
}

/** A call `module.name(arguments)` of a pickle, or an object made of it; not executed. */
export class PickleCall {
  /** @param foreignAt  as PickleGlobal has it */
  constructor(
    readonly name: string,
    readonly args: readonly PickleValue[],
    readonly foreignAt?: number,
  ) {}
}

/** A persistent id: a reference to an object outside the pickle. */
export class PicklePersistent {
  constructor(readonly id: PickleValue) {}
}

/** A dict or an OrderedDict. */
export type PickleDict = Map<PickleValue, PickleValue>;

export type PickleValue =
  | null
  | boolean
  | number
  | string
  | PickleTuple
  | PickleValue[]
  | PickleDict
  | PickleGlobal
  | PickleCall
  | PicklePersistent;

/** A tuple. It has its own class because only lists grow. */
export class PickleTuple {
  constructor(readonly items: readonly PickleValue[]) {}
}

/** Longest pickle, bytes. A checkpoint with 1,347 tensors has 0.25 MB. */
export const MAX_PICKLE_BYTES = 16 << 20;
/** Most values: 1,347 tensors make 30,000. */
const MAX_VALUES = 1_000_000;
/** Most entries of the memo. */
const MAX_NAME = 256; // characters of a global with its module
const MAX_MEMO = 1_000_000;
/** Deepest nesting of containers. */
const MAX_MARKS = 1_000;

/** Marks the start of a container's items on the stack. */
const MARK = Symbol("mark");

/** Modules and functions that run programs. No trainer saves them. */
const RUNS_PROGRAMS =
  /^(os|posix|nt|sys|subprocess|pty|shutil|socket|ctypes|runpy|importlib|webbrowser)(\.|$)|^(builtins|__builtin__)\.(eval|exec|execfile|compile|open|__import__|breakpoint)$/;

/**
 * Reads a pickle of protocol 2 to 5 and executes nothing: the call of a global becomes a
 * PickleCall, and objects keep their class alone, so that a scheduler beside a state dict is read
 * past. Globals beside `allowed` are marked: see refuseForeign. OrderedDict() becomes a dict, and
 * its attributes are dropped. Bytes, sets and integers above 53 bits become a PickleCall of their
 * type.
 * @param file     name of the file in errors
 * @param allowed  "module.name" of the globals that tensors are made of
 * @throws CheckpointError  a global that runs programs, an opcode that these values do not need, or
 *   more than a limit above
 * @source Python 3.11 `pickletools.py`
 */
export function readPickle(bytes: Uint8Array, file: string, allowed: ReadonlySet<string>): PickleValue {
  if (bytes.byteLength > MAX_PICKLE_BYTES) {
    const got = `${bytes.byteLength} bytes`;
    throw checkpointError(file, "pickle", `at most ${MAX_PICKLE_BYTES} bytes`, got);
  }
  return new PickleMachine(bytes, file, allowed).run();
}

/**
 * Refuses a value that holds a global which was not allowed.
 * @param seen  values that were looked at
 */
export function refuseForeign(value: PickleValue, file: string, seen = new Set<PickleValue>()): void {
  const open: PickleValue[] = [value];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (typeof next !== "object" || next === null || seen.has(next)) continue;
    seen.add(next);
    if ((next instanceof PickleGlobal || next instanceof PickleCall) && next.foreignAt !== undefined)
      throw foreignGlobal(file, next.foreignAt, next.name);
    for (const inner of contents(next)) open.push(inner);
  }
}

function contents(value: PickleValue & object): Iterable<PickleValue> {
  if (value instanceof PickleCall) return value.args;
  if (value instanceof PickleTuple) return value.items;
  if (value instanceof PicklePersistent) return [value.id];
  if (value instanceof Map) return [...value.keys(), ...value.values()];
  return Array.isArray(value) ? value : [];
}

function foreignGlobal(file: string, at: number, name: string): CheckpointError {
  const advice = "a checkpoint needs none; such a file can run programs elsewhere: do not load it";
  const expected = "no global but torch's tensors and storages";
  return checkpointError(file, `pickle at byte ${at}`, expected, show(name), advice);
}

class PickleMachine {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #file: string;
  readonly #allowed: ReadonlySet<string>;
  readonly #stack: (PickleValue | typeof MARK)[] = [];
  readonly #memo = new Map<number, PickleValue>();
  #at = 0;
  /** Position of the current opcode. */
  #start = 0;
  #values = 0;
  #marks = 0;

  constructor(bytes: Uint8Array, file: string, allowed: ReadonlySet<string>) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#file = file;
    this.#allowed = allowed;
  }

  run(): PickleValue {
    for (;;) {
      this.#start = this.#at;
      const code = this.#u8();
      if (code === STOP) break;
      const operation = OPERATIONS[code] as Operation | undefined;
      if (!operation) throw this.#refuse("an opcode that builds tensors or containers", opcodeName(code));
      operation(this);
    }
    const result = this.pop();
    if (this.#stack.length > 0) throw this.#refuse("one value at the end", `${this.#stack.length + 1}`);
    return result;
  }

  push(value: PickleValue): void {
    if (++this.#values > MAX_VALUES) throw this.#refuse(`at most ${MAX_VALUES} values`, "more");
    this.#stack.push(value);
  }

  pop(): PickleValue {
    const value = this.#stack.pop();
    if (value === undefined || value === MARK) throw this.#refuse("a value on the stack", "none");
    return value;
  }

  /** The top value, which stays on the stack. */
  top(): PickleValue {
    const value = this.pop();
    this.#stack.push(value);
    return value;
  }

  mark(): void {
    if (++this.#marks > MAX_MARKS) throw this.#refuse(`at most ${MAX_MARKS} levels`, "more");
    this.#stack.push(MARK);
  }

  /** Removes the last mark and the values above it. */
  popMark(): PickleValue[] {
    const mark = this.#stack.lastIndexOf(MARK);
    if (mark < 0) throw this.#refuse("a mark on the stack", "none");
    this.#marks--;
    return this.#stack.splice(mark).slice(1) as PickleValue[];
  }

  popTuple(length: number): void {
    const items = Array.from({ length }, () => this.pop());
    this.push(new PickleTuple(items.reverse()));
  }

  append(items: readonly PickleValue[]): void {
    const list = this.top();
    if (list instanceof PickleCall) return; // a class of lists: its items are not kept
    if (!Array.isArray(list)) throw this.#refuse("a list to append to", describe(list));
    for (const item of items) list.push(item);
  }

  setItems(items: readonly PickleValue[]): void {
    const dict = this.top();
    if (dict instanceof PickleCall) return; // a class of dicts
    if (!(dict instanceof Map)) throw this.#refuse("a dict to add to", describe(dict));
    if (items.length % 2 !== 0) throw this.#refuse("a value for every key", "a key alone");
    for (let i = 0; i < items.length; i += 2) {
      const key = items[i];
      if (key instanceof Map || Array.isArray(key))
        throw this.#refuse("a string or a number as a key", describe(key));
      dict.set(key, items[i + 1]);
    }
  }

  remember(key: number): void {
    if (this.#memo.size >= MAX_MEMO) throw this.#refuse(`a memo of at most ${MAX_MEMO}`, "more");
    this.#memo.set(key, this.top());
  }

  /** As `remember`, with the next number as key. */
  memoize(): void {
    this.remember(this.#memo.size);
  }

  recall(key: number): void {
    const value = this.#memo.get(key);
    if (value === undefined) throw this.#refuse("a value remembered before", `memo ${key}`);
    this.push(value);
  }

  global(module: PickleValue, name: PickleValue): void {
    const path = [module, name].map((part) => (typeof part === "string" ? part : "?")).join(".");
    if (path.length > MAX_NAME)
      // a remembered text could be joined again and again
      throw this.#refuse(`a global's name of at most ${MAX_NAME} characters`, `${path.length}`);
    if (RUNS_PROGRAMS.test(path)) throw foreignGlobal(this.#file, this.#start, path);
    this.push(new PickleGlobal(path, this.#allowed.has(path) ? undefined : this.#start));
  }

  call(): void {
    const args = this.pop();
    const callee = this.pop();
    const isCallable = callee instanceof PickleGlobal || callee instanceof PickleCall;
    if (!(isCallable && args instanceof PickleTuple))
      throw this.#refuse("a call of a global", `${describe(callee)} of ${describe(args)}`);
    if (callee.name !== ORDERED_DICT) this.push(new PickleCall(callee.name, args.items, callee.foreignAt));
    else if (args.items.length === 0) this.push(new Map());
    else throw this.#refuse("an OrderedDict made empty", `one of ${args.items.length} arguments`);
  }

  /** Drops an object's attributes, such as torch's `_metadata` of an OrderedDict. */
  build(): void {
    this.pop();
    const object = this.top();
    if (object instanceof Map || object instanceof PickleCall || object instanceof PickleGlobal) return;
    throw this.#refuse("attributes of a dict", describe(object));
  }

  bytes(length: number): void {
    this.#take(length);
    this.opaque("bytes");
  }

  frozenSet(): void {
    this.popMark();
    this.opaque("frozenset");
  }

  /** As `call`, with arguments by name, which are dropped. */
  callWithNames(): void {
    this.pop();
    this.call();
  }

  /** A value of which only the type is kept. */
  opaque(type: string): void {
    this.push(new PickleCall(type, []));
  }

  number(read: "u8" | "u16" | "i32" | "u32" | "f64be"): number {
    if (read === "u8") return this.#u8();
    if (read === "u16") return this.#view.getUint16(this.#take(2), true);
    if (read === "i32") return this.#view.getInt32(this.#take(4), true);
    if (read === "u32") return this.#view.getUint32(this.#take(4), true);
    return this.#view.getFloat64(this.#take(8));
  }

  /** A little-endian two's complement integer; above 53 bits, as of a seed, only its type is kept. */
  long(length: number): PickleValue {
    if (length > 8) {
      this.#take(length);
      return new PickleCall("int", []);
    }
    const start = this.#take(length);
    let value = 0n;
    for (let i = 0; i < length; i++) value |= BigInt(this.#bytes[start + i]) << BigInt(8 * i);
    const signed = Number(BigInt.asIntN(8 * length, value));
    return Number.isSafeInteger(signed) ? signed : new PickleCall("int", []);
  }

  text(length: number): string {
    const start = this.#take(length);
    return decodeUtf8(this.#bytes.subarray(start, start + length), this.#file, "pickle text");
  }

  /** Takes a line with its end, and returns it without. */
  line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0) throw this.#refuse("the end of a line", "the end of the pickle");
    const text = this.text(end - this.#at);
    this.#at++;
    return text;
  }

  skip(length: number): void {
    this.#take(length);
  }

  #u8(): number {
    return this.#bytes[this.#take(1)];
  }

  #take(length: number): number {
    const start = this.#at;
    const left = this.#bytes.byteLength - start;
    if (length > left) throw this.#refuse(`${length} more bytes`, `${left}`, "the file is cut short");
    this.#at += length;
    return start;
  }

  #refuse(expected: string, got: string, advice?: string): CheckpointError {
    return checkpointError(this.#file, `pickle at byte ${this.#start}`, expected, got, advice);
  }
}

type Operation = (machine: PickleMachine) => void;

const ORDERED_DICT = "collections.OrderedDict";
const STOP = 0x2e;

/** The supported opcodes, with their names in pickletools. */
const OPERATIONS: Readonly<Record<number, Operation>> = {
  0x80: (m) => m.skip(1), // PROTO
  0x95: (m) => m.skip(8), // FRAME
  0x28: (m) => m.mark(), // MARK
  0x4e: (m) => m.push(null), // NONE
  0x88: (m) => m.push(true), // NEWTRUE
  0x89: (m) => m.push(false), // NEWFALSE
  0x4a: (m) => m.push(m.number("i32")), // BININT
  0x4b: (m) => m.push(m.number("u8")), // BININT1
  0x4d: (m) => m.push(m.number("u16")), // BININT2
  0x8a: (m) => m.push(m.long(m.number("u8"))), // LONG1
  0x8b: (m) => m.push(m.long(m.number("u32"))), // LONG4
  0x47: (m) => m.push(m.number("f64be")), // BINFLOAT
  0x58: (m) => m.push(m.text(m.number("u32"))), // BINUNICODE
  0x8c: (m) => m.push(m.text(m.number("u8"))), // SHORT_BINUNICODE
  0x43: (m) => m.bytes(m.number("u8")), // SHORT_BINBYTES
  0x42: (m) => m.bytes(m.number("u32")), // BINBYTES
  0x8f: (m) => m.opaque("set"), // EMPTY_SET
  0x90: (m) => m.append(m.popMark()), // ADDITEMS
  0x91: (m) => m.frozenSet(), // FROZENSET
  0x5d: (m) => m.push([]), // EMPTY_LIST
  0x61: (m) => m.append([m.pop()]), // APPEND
  0x65: (m) => m.append(m.popMark()), // APPENDS
  0x29: (m) => m.popTuple(0), // EMPTY_TUPLE
  0x85: (m) => m.popTuple(1), // TUPLE1
  0x86: (m) => m.popTuple(2), // TUPLE2
  0x87: (m) => m.popTuple(3), // TUPLE3
  0x74: (m) => m.push(new PickleTuple(m.popMark())), // TUPLE
  0x7d: (m) => m.push(new Map()), // EMPTY_DICT
  0x73: (m) => m.setItems([m.pop(), m.pop()].reverse()), // SETITEM
  0x75: (m) => m.setItems(m.popMark()), // SETITEMS
  0x71: (m) => m.remember(m.number("u8")), // BINPUT
  0x72: (m) => m.remember(m.number("u32")), // LONG_BINPUT
  0x94: (m) => m.memoize(), // MEMOIZE
  0x68: (m) => m.recall(m.number("u8")), // BINGET
  0x6a: (m) => m.recall(m.number("u32")), // LONG_BINGET
  0x63: (m) => m.global(m.line(), m.line()), // GLOBAL
  0x93: (m) => m.global(...([m.pop(), m.pop()].reverse() as [PickleValue, PickleValue])), // STACK_GLOBAL
  0x52: (m) => m.call(), // REDUCE
  0x81: (m) => m.call(), // NEWOBJ
  0x92: (m) => m.callWithNames(), // NEWOBJ_EX
  0x62: (m) => m.build(), // BUILD
  0x51: (m) => m.push(new PicklePersistent(m.pop())), // BINPERSID
};

/** The other opcodes, for errors. @source Python 3.11 `pickletools.py` */
const UNSUPPORTED: ReadonlyMap<number, string> = new Map(
  (
    "30 POP,31 POP_MARK,32 DUP,46 FLOAT,49 INT,4c LONG,50 PERSID,53 STRING," +
    "54 BINSTRING,55 SHORT_BINSTRING,56 UNICODE,64 DICT,67 GET,69 INST,6c LIST,6f OBJ,70 PUT," +
    "82 EXT1,83 EXT2,84 EXT4,8d BINUNICODE8,8e BINBYTES8,96 BYTEARRAY8,97 NEXT_BUFFER,98 READONLY_BUFFER"
  )
    .split(",")
    .map((entry) => [Number.parseInt(entry, 16), entry.split(" ")[1]]),
);

function opcodeName(code: number): string {
  return UNSUPPORTED.get(code) ?? `byte 0x${code.toString(16).padStart(2, "0")}`;
}

/** A short description of a value, for errors. */
export function describe(value: PickleValue): string {
  if (value instanceof PickleGlobal) return `the global ${show(value.name)}`;
  if (value instanceof PickleCall) return `a call of ${show(value.name)}`;
  if (value instanceof PicklePersistent) return "a persistent id";
  if (value instanceof PickleTuple) return `a tuple of ${value.items.length}`;
  if (value instanceof Map) return "a dict";
  return Array.isArray(value) ? "a list" : show(value);
}
