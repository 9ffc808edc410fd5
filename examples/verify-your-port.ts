// Judges the stages of another program by a golden bundle: npx tsx examples/verify-your-port.ts
// The port here is the adaptor's projector, y = relu(x W1ᵀ + b1) W2ᵀ + b2, in plain TypeScript:
// once right, once without relu.
import { type Bundle, openBundle, readParameter, readStage, verifyOutputs } from "funasr-webgpu";
import { openFile } from "funasr-webgpu/node";

interface Rows {
  readonly shape: readonly number[]; // [rows, width]
  readonly data: Float32Array;
}

/** x [rows, in] → x · Wᵀ + b [rows, out]; W is [out, in] */
function linear(x: Rows, weight: Float32Array, bias: Float32Array): Rows {
  const [rows, width] = x.shape;
  const y = new Float32Array(rows * bias.length);
  for (let row = 0; row < rows; row++)
    for (let out = 0; out < bias.length; out++) {
      let sum = bias[out];
      for (let i = 0; i < width; i++) sum += x.data[row * width + i] * weight[out * width + i];
      y[row * bias.length + out] = sum;
    }
  return { shape: [rows, bias.length], data: y };
}

async function projector(bundle: Bundle, activation: (v: number) => number): Promise<Rows> {
  const parameter = (name: string): Promise<Float32Array> =>
    readParameter(bundle, `model.multi_modal_projector.${name}`);
  const x = await readStage(bundle, "encoder.output");
  const h = linear(x, await parameter("linear_1.weight"), await parameter("linear_1.bias"));
  const active = { shape: h.shape, data: h.data.map(activation) };
  return linear(active, await parameter("linear_2.weight"), await parameter("linear_2.bias"));
}

const bundle = await openBundle(await openFile("golden/bundles/adaptor-67.safetensors"));
const ports = { right: (v: number) => Math.max(v, 0), "without relu": (v: number) => v };
for (const [name, activation] of Object.entries(ports)) {
  const outputs = new Map([["adaptor.projector", await projector(bundle, activation)]]);
  for (const { stage, ratio, ok } of await verifyOutputs(bundle, outputs))
    console.log(
      `${name}: ${stage} ${ok ? "agrees" : "differs"}: ${ratio.toPrecision(2)} times PyTorch's own f32 error`,
    );
}
