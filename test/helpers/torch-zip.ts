import { utf8 } from "./checkpoint.js";

/** Byte lists one after another. */
export function concat(...parts: readonly (readonly number[] | Uint8Array)[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, p) => sum + p.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function little(size: 2 | 4, value: number): number[] {
  return Array.from({ length: size }, (_, i) => (value >>> (8 * i)) & 0xff);
}

/** A zip archive of entries stored as they are, in the smallest form: to be damaged by tests. */
export function storedZip(entries: readonly (readonly [string, Uint8Array])[], comment = ""): Uint8Array {
  const body: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let at = 0;
  for (const [name, data] of entries) {
    const sizes = [...little(4, 0), ...little(4, data.length), ...little(4, data.length)];
    const common = [...little(2, 20), ...little(2, 0), ...little(2, 0), ...little(4, 0), ...sizes];
    const lengths = [...little(2, utf8(name).length), ...little(2, 0)];
    const local = concat([0x50, 0x4b, 3, 4], common, lengths, utf8(name), data);
    const rest = [...little(2, 0), ...little(2, 0), ...little(2, 0), ...little(4, 0), ...little(4, at)];
    directory.push(concat([0x50, 0x4b, 1, 2], little(2, 20), common, lengths, rest, utf8(name)));
    body.push(local);
    at += local.length;
  }
  const length = directory.reduce((sum, d) => sum + d.length, 0);
  const counts = [
    ...little(2, 0),
    ...little(2, 0),
    ...little(2, entries.length),
    ...little(2, entries.length),
  ];
  const end = [...counts, ...little(4, length), ...little(4, at), ...little(2, utf8(comment).length)];
  return concat(...body, ...directory, [0x50, 0x4b, 5, 6], end, utf8(comment));
}

/** The opcode GLOBAL of a name. */
export function global(module: string, name: string): Uint8Array {
  return concat([0x63], utf8(`${module}\n${name}\n`));
}

export interface TorchTensor {
  /** Of torch, e.g. FloatStorage. */
  readonly dtype: string;
  readonly key: string;
  readonly elements: number;
  readonly offset: number;
  readonly size: readonly number[];
  readonly stride: readonly number[];
}

const integer = (value: number): Uint8Array => concat([0x4a], little(4, value));
const text = (value: string): Uint8Array => concat([0x58], little(4, utf8(value).length), utf8(value));
const tuple = (...items: readonly Uint8Array[]): Uint8Array => concat([0x28], ...items, [0x74]);

/** A name and its tensor in a pickled dictionary. */
function namedTensor(name: string, { dtype, key, elements, offset, size, stride }: TorchTensor): Uint8Array {
  const id = tuple(text("storage"), global("torch", dtype), text(key), text("cpu"), integer(elements));
  const args = tuple(
    concat(id, [0x51]),
    integer(offset),
    tuple(...size.map(integer)),
    tuple(...stride.map(integer)),
    concat([0x89]),
    concat(global("collections", "OrderedDict"), [0x29, 0x52]),
  );
  return concat(text(name), global("torch._utils", "_rebuild_tensor_v2"), args, [0x52]);
}

/** The pickle of {"x": tensor}, as torch.save writes it. */
export function torchTensor(tensor: TorchTensor): Uint8Array {
  return concat([0x80, 2, 0x7d], namedTensor("x", tensor), [0x73, 0x2e]);
}

const STORAGES: Readonly<Record<string, readonly [name: string, bytes: number]>> = {
  F32: ["FloatStorage", 4],
  BF16: ["BFloat16Storage", 2],
  F16: ["HalfStorage", 2],
  I64: ["LongStorage", 8],
};

/** A file of torch.save with contiguous tensors, a storage each. */
export function torchFile(
  tensors: readonly {
    readonly name: string;
    readonly dtype: string;
    readonly shape: readonly number[];
    readonly data: Uint8Array;
  }[],
): Uint8Array {
  const items = tensors.map(({ name, dtype, shape, data }, i) => {
    const [storage, bytes] = STORAGES[dtype];
    const stride = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
    const place = { dtype: storage, key: `${i}`, elements: data.length / bytes, offset: 0 };
    return namedTensor(name, { ...place, size: shape, stride });
  });
  const pickle = concat([0x80, 2, 0x7d, 0x28], ...items, [0x75, 0x2e]);
  const storages = tensors.map(({ data }, i) => [`archive/data/${i}`, data] as const);
  return storedZip([["archive/data.pkl", pickle], ...storages]);
}

/**
 * A file of torch.save with one tensor "x"; `entries` are its other entries, without the archive's
 * name.
 */
export function torchZip(
  tensor: TorchTensor,
  entries: readonly (readonly [string, Uint8Array])[],
): Uint8Array {
  const named = entries.map(([name, data]) => [`archive/${name}`, data] as const);
  return storedZip([["archive/data.pkl", torchTensor(tensor)], ...named]);
}
