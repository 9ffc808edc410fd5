/** A worker's number among those of a scheduler. */
export interface Place {
  readonly index: number;
  /** Workers in all; absent: the worker does the shard of its number alone. */
  readonly of?: number;
}

interface Asked {
  readonly shard?: number;
  readonly of?: number;
  readonly claims?: boolean;
  readonly queue?: string;
}

/**
 * The worker's number: --shard, or by the variables of a Slurm array or of an indexed Kubernetes
 * Job.
 * @returns  undefined where shards are claimed or queued; what is wrong with the options
 */
export function placeOf(
  { shard, of, claims, queue }: Asked,
  variables: Readonly<Record<string, string | undefined>>,
): Place | undefined | string {
  const ways = [claims && "--claims", queue !== undefined && "--queue", shard !== undefined && "--shard"];
  const given = ways.filter((way) => way !== false && way !== undefined);
  if (given.length > 1) return `${given.join(" and ")} exclude each other`;
  if (claims || queue !== undefined) return of === undefined ? undefined : "--of needs --shard";
  if (shard !== undefined)
    return of === undefined || shard < of ? placed(shard, of) : "--shard must be below --of";
  const { SLURM_ARRAY_TASK_ID: task, JOB_COMPLETION_INDEX: completion } = variables;
  if (isCount(task)) {
    const from = Number(variables["SLURM_ARRAY_TASK_MIN"] ?? 0);
    const step = Number(variables["SLURM_ARRAY_TASK_STEP"] ?? 1);
    const tasks = Number(variables["SLURM_ARRAY_TASK_COUNT"]);
    const to = Number(variables["SLURM_ARRAY_TASK_MAX"]);
    if (of === undefined && (to - from) / step + 1 > tasks)
      return "a Slurm array with gaps: pass --shard K --of N, or --claims";
    return placed((Number(task) - from) / step, of ?? (tasks > 0 ? tasks : undefined));
  }
  if (isCount(completion)) return placed(Number(completion), of);
  return of === undefined ? undefined : "--of needs --shard";
}

function isCount(text: string | undefined): text is string {
  return text !== undefined && /^\d+$/.test(text);
}

function placed(index: number, of: number | undefined): Place {
  return of === undefined ? { index } : { index, of };
}
