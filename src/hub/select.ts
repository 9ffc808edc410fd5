import { quoted } from "../errors.js";
import { HubError } from "./errors.js";

const INDEX = "model.safetensors.index.json";

/** From the most to the least similar to the trained weights. */
const LLM_FORMATS = [/bf16/i, /f16/i, /q8_0/i, /q6_?k/i, /q5_?k/i, /q4_?k/i, /f32/i];

/**
 * The files of a repository's checkpoint, in the first layout that it has: transformers or MLX
 * (safetensors beside config.json), FunASR (model.pt, config.yaml, the LLM's directory), GGUF (one
 * encoder and one LLM).
 * @param paths  all files of the repository, with slashes
 * @param name   the repository's name in errors
 * @throws HubError  there is no checkpoint
 */
export function checkpointFiles(paths: readonly string[], name: string): string[] {
  const top = paths.filter((path) => !path.includes("/"));
  const weights = safetensors(top) ?? (top.includes("model.pt") ? funasr(paths) : gguf(top));
  if (weights.length === 0) {
    const got = top.slice(0, 5).map(quoted).join(", ") || "no file";
    throw new HubError(
      `${name}: expected a checkpoint (model.safetensors, model.pt or *.gguf), got ${got}; check the name`,
    );
  }
  const others = top.filter(
    (path) =>
      /(\.(json|jinja)|^(ctc\.safetensors|.+\.tiktoken))$/.test(path) && !path.endsWith(".index.json"),
  );
  return [...new Set([...others, ...weights])].sort();
}

function safetensors(top: readonly string[]): string[] | undefined {
  if (top.includes("model.safetensors")) return ["model.safetensors"];
  const all = top.filter((path) => path.endsWith(".safetensors") && path !== "ctc.safetensors");
  if (!top.includes(INDEX)) return all.length > 0 ? all : undefined;
  return [INDEX, ...all.filter((path) => /^model-\d+-of-\d+\.safetensors$/.test(path))];
}

function funasr(paths: readonly string[]): string[] {
  return paths.filter((path) =>
    /^(model\.pt|config\.yaml|am\.mvn|Qwen3-[^/]+\/[^/]+\.(json|jinja|txt))$/.test(path),
  );
}

function gguf(top: readonly string[]): string[] {
  const all = top.filter((path) => path.endsWith(".gguf")).sort();
  const rank = (path: string): number => {
    const found = LLM_FORMATS.findIndex((format) => format.test(path));
    return found < 0 ? LLM_FORMATS.length : found;
  };
  const best = (files: readonly string[]): string[] =>
    files.toSorted((a, b) => rank(a) - rank(b)).slice(0, 1);
  const encoders = all.filter((path) => /encoder/i.test(path));
  return [...best(encoders), ...best(all.filter((path) => !encoders.includes(path)))];
}
