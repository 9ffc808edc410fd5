import { DTYPE_BITS } from "../../formats/dtypes.js";
import { checkpointError, tensorField } from "../../formats/errors.js";
import { type WriteTensor, tensorBytes } from "../safetensors/write.js";
import { MAX_PICKLE_BYTES } from "./pickle.js";
import { STORAGES } from "./torch-file.js";
import { type ZipFile, writeZip } from "./write-zip.js";

/** A tensor of a state dict to write. */
export type TorchTensor =
  | WriteTensor
  | {
      readonly name: string;
      /** Name of the tensor of the list whose storage this one shares, such as a tied head. */
      readonly sameAs: string;
    };

const TARGET = "model.pt"; // errors name the format: the file does not exist yet
const ROOT = "archive";

/**
 * The bytes of a file of torch.save that holds a state dict, piece by piece: a pickle of protocol 2
 * with torch's tensors alone, which `torch.load(weights_only=True)` takes, and a storage for each
 * tensor, aligned to 64 bytes.
 * @throws CheckpointError  a name that occurs twice, a type that torch has no plain storage for,
 *   data that is not shape × dtype bytes, or a `sameAs` of no tensor
 * @source torch 2.13 `torch/serialization.py` _save, `torch/_utils.py` _rebuild_tensor_v2
 */
export async function* writeTorchFile(
  tensors: readonly TorchTensor[],
): AsyncGenerator<Uint8Array, void, undefined> {
  const stored = tensors.filter((tensor) => "data" in tensor);
  const pickle = stateDictPickle(tensors, stored);
  const small = (name: string, bytes: Uint8Array): ZipFile => {
    return { name: `${ROOT}/${name}`, byteLength: bytes.length, pieces: () => [bytes] };
  };
  const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);
  const storages = stored.map((tensor, i): ZipFile => {
    const byteLength = tensorBytes(tensor);
    return { name: `${ROOT}/data/${i}`, byteLength, pieces: () => checkedData(tensor, byteLength) };
  });
  yield* writeZip([
    small("data.pkl", pickle),
    small("byteorder", ascii("little")),
    ...storages,
    small("version", ascii("3\n")),
  ]);
}

async function* checkedData(
  { name, data }: WriteTensor,
  expected: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  const bytes = typeof data === "function" ? await data() : data;
  let written = 0;
  for await (const piece of bytes instanceof Uint8Array ? [bytes] : bytes) {
    written += piece.byteLength;
    if (written > expected) break;
    yield piece;
  }
  if (written !== expected)
    throw checkpointError(TARGET, tensorField(name), `${expected} bytes`, `${written} bytes`);
}

/** Opcodes of pickle's protocol 2. */
const OP = {
  mark: 0x28,
  stop: 0x2e,
  reduce: 0x52,
  persistent: 0x51,
  setItems: 0x75,
  tuple: 0x74,
  call: 0x29,
};

function stateDictPickle(tensors: readonly TorchTensor[], stored: readonly WriteTensor[]): Uint8Array {
  const storages = new Map(stored.map((tensor, i) => [tensor.name, { tensor, key: String(i) }]));
  const out = new PickleWriter();
  out.global("collections", "OrderedDict").op(OP.call, OP.reduce, OP.mark);
  const names = new Set<string>();
  for (const entry of tensors) {
    const { name } = entry;
    const refuse = (expected: string, got: string): never => {
      throw checkpointError(TARGET, tensorField(name), expected, got);
    };
    if (names.has(name)) refuse("a name used once", "it twice");
    names.add(name);
    const storage = storages.get("data" in entry ? name : entry.sameAs);
    if (!storage) return refuse("the name of a tensor whose storage it shares", "another");
    const { tensor, key } = storage;
    const type = STORAGE_NAMES.get(tensor.dtype) ?? refuse("a type that torch stores", tensor.dtype);
    out.text(name);
    writeTensor(out, {
      type,
      key,
      shape: tensor.shape,
      elements: (8 * tensorBytes(tensor)) / DTYPE_BITS[tensor.dtype],
    });
  }
  const bytes = out.op(OP.setItems, OP.stop).done();
  if (bytes.length <= MAX_PICKLE_BYTES) return bytes;
  throw checkpointError(TARGET, "pickle", `at most ${MAX_PICKLE_BYTES} bytes`, `${bytes.length}`);
}

/** Dtype → "FloatStorage". */
const STORAGE_NAMES: ReadonlyMap<string, string> = new Map(
  Object.entries(STORAGES).map(([name, dtype]) => [dtype, name.replace("torch.", "")]),
);

interface StoredAs {
  readonly type: string;
  readonly key: string;
  readonly shape: readonly number[];
  readonly elements: number;
}

/** `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)` */
function writeTensor(out: PickleWriter, { type, key, shape, elements }: StoredAs): void {
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  out.global("torch._utils", "_rebuild_tensor_v2").op(OP.mark);
  out.op(OP.mark).text("storage").global("torch", type).text(key).text("cpu").integer(elements);
  out.op(OP.tuple, OP.persistent).integer(0).integers(shape).integers(strides).op(0x89);
  out.global("collections", "OrderedDict").op(OP.call, OP.reduce, OP.tuple, OP.reduce);
}

class PickleWriter {
  readonly #bytes: number[] = [0x80, 2];

  op(...codes: readonly number[]): this {
    this.#bytes.push(...codes);
    return this;
  }

  global(module: string, name: string): this {
    return this.op(0x63).#ascii(`${module}\n${name}\n`);
  }

  text(value: string): this {
    const utf8 = new TextEncoder().encode(value);
    this.op(0x58).#little(utf8.length, 4);
    for (const byte of utf8) this.#bytes.push(byte);
    return this;
  }

  /** At least 0, below 2^53. */
  integer(value: number): this {
    if (value < 256) return this.op(0x4b, value);
    if (value < 2 ** 31) return this.op(0x4a).#little(value, 4);
    return this.op(0x8a, 8).#little(value, 8);
  }

  integers(values: readonly number[]): this {
    this.op(OP.mark);
    for (const value of values) this.integer(value);
    return this.op(OP.tuple);
  }

  done(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }

  #ascii(text: string): this {
    for (let i = 0; i < text.length; i++) this.#bytes.push(text.charCodeAt(i));
    return this;
  }

  #little(value: number, bytes: number): this {
    for (let i = 0, rest = value; i < bytes; i++, rest = Math.floor(rest / 256)) this.#bytes.push(rest % 256);
    return this;
  }
}
