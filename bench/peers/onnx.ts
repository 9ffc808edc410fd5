/**
 * ONNX models of a few nodes as bytes: protobuf messages of onnx.proto3, written field by field.
 */

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) | 128);
  }
}

const whole = (field: number, value: number): Buffer =>
  Buffer.from([...varint(field << 3), ...varint(value)]);

function part(field: number, content: Uint8Array | string): Buffer {
  const bytes = Buffer.from(content as Uint8Array);
  return Buffer.concat([Buffer.from([...varint((field << 3) | 2), ...varint(bytes.length)]), bytes]);
}

const float = 1; // TensorProto.DataType

/** Name and shape of an input or output. */
function valueInfo(name: string, shape: readonly number[]): Buffer {
  const dims = Buffer.concat(shape.map((size) => part(1, whole(1, size))));
  const tensor = Buffer.concat([whole(1, float), part(2, dims)]);
  return Buffer.concat([part(1, name), part(2, part(1, tensor))]);
}

/** y [rows, columns] = x [rows, width] · w [width, columns], all f32, w within the model. */
export function matMulModel(rows: number, width: number, columns: number, w: Float32Array): Buffer {
  const node = Buffer.concat([part(1, "x"), part(1, "w"), part(2, "y"), part(4, "MatMul")]);
  const data = new Uint8Array(w.buffer, w.byteOffset, w.byteLength);
  const weight = [whole(1, width), whole(1, columns), whole(2, float), part(8, "w"), part(9, data)];
  const graph = Buffer.concat([
    part(1, node),
    part(2, "product"),
    part(5, Buffer.concat(weight)),
    part(11, valueInfo("x", [rows, width])),
    part(12, valueInfo("y", [rows, columns])),
  ]);
  const opset = whole(2, 17);
  return Buffer.concat([whole(1, 8), part(8, opset), part(7, graph)]);
}
