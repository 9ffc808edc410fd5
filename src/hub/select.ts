import { quoted } from "../errors.js";
import { HubError } from "./errors.js";

const INDEX = "model.safetensors.index.json";

/** From most to least like the trained weights; the first that a repository offers is taken. */
const LLM_FORMATS = [/bf16/i, /f16/i, /q8_0/i, /q6_?k/i, /q5_?k/i, /q4_?k/i, /f32/i];

/**
 * The files of a repository that its checkpoint needs, of the first layout that fits: transformers or MLX (safetensors beside
 * config.json), FunASR (model.pt beside config.yaml, the LLM's directory), GGUF (one encoder and one LLM).
 * @param paths  every file of the repository, with slashes
 * @param name   what errors call the repository
 * @throws HubError  none of the layouts is there
 */
export function checkpointFiles(paths: readonly string[], name: string): string[] {
  const top = paths.filter((path) => !path.includes("/"));
  const weights = safetensors(top) ?? (top.includes("model.pt") ? funasr(paths) : gguf(top));
  if (weights.length === 0) {
    const some = top.slice(0, 5).map(quoted).join(", ");
    throw new HubError(
      `${name}: expected a checkpoint (model.safetensors, model.pt or *.gguf), got ${some || "no file"}; check the name`,
    );
  }
  const described = top.filter((path) => /\.(json|jinja)$/.test(path) && !path.endsWith(".index.json"));
  return [...new Set([...described, ...weights])].sort();
}

function safetensors(top: readonly string[]): string[] | undefined {
  if (top.includes("model.safetensors")) return ["model.safetensors"];
  const all = top.filter((path) => path.endsWith(".safetensors"));
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
  const best = (of: readonly string[]): string[] => [...of].sort((a, b) => rank(a) - rank(b)).slice(0, 1);
  const encoders = all.filter((path) => /encoder/i.test(path));
  return [...best(encoders), ...best(all.filter((path) => !encoders.includes(path)))];
}
