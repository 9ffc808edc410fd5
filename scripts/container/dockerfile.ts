/** What is done to a stage's files, in order. */
export type Step =
  | {
      readonly kind: "copy";
      readonly from?: string;
      readonly sources: readonly string[];
      readonly to: string;
    }
  | { readonly kind: "run"; readonly command: string }
  | { readonly kind: "workdir"; readonly path: string }
  | { readonly kind: "volume"; readonly path: string };

/** One FROM with what follows it. */
export interface Stage {
  readonly base: string;
  readonly name: string | undefined;
  readonly steps: Step[];
  readonly env: Record<string, string>;
  user: string;
  workdir: string;
  entrypoint: readonly string[];
  healthcheck: readonly string[];
}

const list = (text: string): string[] => JSON.parse(text) as string[];

/** Reads the Dockerfile's instructions that this package uses. @throws Error  another one */
export function readDockerfile(text: string): Stage[] {
  const stages: Stage[] = [];
  for (const line of text
    .replaceAll(/^#.*\n/gm, "")
    .replaceAll("\\\n", " ")
    .split("\n")) {
    if (line.trim() === "") continue;
    const [, word, rest] = /^(\w+)\s+(.*)$/.exec(line) ?? ["", line, ""];
    const stage = stages.at(-1);
    if (word === "FROM") {
      const [base, , name] = rest.split(/\s+/);
      const fresh = { user: "root", workdir: "/", entrypoint: [], healthcheck: [] };
      stages.push({ base, name, steps: [], env: {}, ...fresh });
    } else if (stage) read(stage, word, rest);
    else throw new Error(`Dockerfile: expected FROM first, got ${line}`);
  }
  return stages;
}

function read(stage: Stage, word: string, rest: string): void {
  switch (word) {
    case "COPY": {
      const [, from, paths] = /^(?:--from=(\S+)\s+)?(.*)$/.exec(rest)!;
      const sources = paths.split(/\s+/);
      const to = sources.pop()!;
      stage.steps.push({ kind: "copy", sources, to, ...(from !== undefined && { from }) });
      return;
    }
    case "RUN":
      stage.steps.push({ kind: "run", command: rest });
      return;
    case "WORKDIR":
      stage.workdir = rest;
      stage.steps.push({ kind: "workdir", path: rest });
      return;
    case "VOLUME":
      stage.steps.push({ kind: "volume", path: rest });
      return;
    case "ENV": {
      const [name, value] = rest.split("=");
      stage.env[name] = value;
      return;
    }
    case "USER":
      stage.user = rest;
      return;
    case "EXPOSE":
      return;
    case "HEALTHCHECK":
      stage.healthcheck = list(rest.slice(rest.indexOf("[")));
      return;
    case "ENTRYPOINT":
      stage.entrypoint = list(rest);
      return;
    default:
      throw new Error(`Dockerfile: ${word} is not among the instructions that are run here`);
  }
}
