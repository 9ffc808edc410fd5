import { readFileSync, readdirSync } from "node:fs";

/** The kernels of the repository. */
export const kernelRoot = new URL("../../src/kernels/", import.meta.url);

/** Folders of ops below a root. */
export function opFolders(root = kernelRoot): string[] {
  return readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
}

/** Every kernel below a root: FOLDER/FILE without its ending. */
export function kernelFiles(root = kernelRoot): string[] {
  const files = opFolders(root).flatMap((folder) =>
    readdirSync(new URL(folder, root))
      .filter((file) => file.endsWith(".wgsl"))
      .map((file) => `${folder}/${file.slice(0, -5)}`),
  );
  return files.sort();
}

/** Text of a kernel below a root. */
export function kernelText(name: string, root = kernelRoot): string {
  return readFileSync(new URL(`${name}.wgsl`, root), "utf8");
}

/**
 * Values that each override of a kernel is to be tried with: both of a bool; those that its comment
 * lists, as in `// 0 none, 1 ReLU`; else 1 and the default.
 */
export function overrideValues(source: string): [string, readonly number[]][] {
  return [...source.matchAll(/^override (\w+): (\w+) = (\w+);(?:\s*\/\/(.*))?$/gm)].map(
    ([, name, type, value, comment = ""]) => {
      const listed = [...comment.matchAll(/(?<=^\s*|[:,]\s)(\d+) \w/g)].map(([, code]) => Number(code));
      const usual = type === "bool" ? [0, 1] : [1, parseInt(value)];
      return [name, listed.length > 1 ? listed : usual];
    },
  );
}

/**
 * Values of the lines `const NAME = 4u; // @set`, but for `SG`, that a kernel is to be translated
 * with: the file's, 1, and 0 for `@with NAME`.
 */
export function constantValues(source: string): [string, readonly number[]][] {
  return [...source.matchAll(/^const (\w+) = (\d+)u;\s*\/\/ @set/gm)]
    .filter(([, name]) => name !== "SG")
    .map(([, name, value]) => [name, [Number(value), 1, ...(source.includes(`@with ${name}`) ? [0] : [])]]);
}

/** Every combination of one value for each name. */
export function combinations(
  choices: readonly (readonly [string, readonly number[]])[],
): Record<string, number>[] {
  if (choices.length === 0) return [{}];
  const [[name, list], ...others] = choices;
  return combinations(others).flatMap((rest) => list.map((value) => ({ [name]: value, ...rest })));
}

/** Functions of a kernel besides `main`, by name. */
export function helperFunctions(source: string): ReadonlyMap<string, string> {
  const found = source.matchAll(/^fn (\w+)\((?:[^\n]*\}|[\s\S]*?\n\})$/gm);
  return new Map([...found].filter(([, name]) => name !== "main").map(([text, name]) => [name, text]));
}

/**
 * What WebGPU says against a kernel: messages of its translation, then of a pipeline for every
 * combination of its overrides' values.
 */
export async function kernelErrors(device: GPUDevice, source: string): Promise<string[]> {
  const module = device.createShaderModule({ code: source });
  const errors = (await module.getCompilationInfo()).messages.map(({ message }) => message);
  for (const constants of combinations(overrideValues(source))) {
    device.pushErrorScope("validation");
    device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main", constants } });
    const error = await device.popErrorScope();
    if (error) errors.push(error.message);
  }
  return errors;
}
