/**
 * The parts that wrappers add to tensor names: DataParallel, torch.compile, FSDP, activation
 * checkpoints, Lightning's Fabric, and peft around the model and around a layer.
 */
const WRAPPER =
  /(?:^|(?<=\.))(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module|base_model\.model|base_layer)\./g;

/** A name without the wrappers' parts. */
export function unwrapped(name: string): string {
  return name.replace(WRAPPER, "");
}

/**
 * Removes the parts that wrappers added, from some names or all, anywhere in a name.
 * @returns  stored name → name. No name changes if two would become equal.
 */
export function unwrappedNames(names: Iterable<string>): Map<string, string> {
  const stored = [...names];
  const bare = stored.map(unwrapped);
  const unique = new Set(bare).size === stored.length;
  return new Map(stored.map((name, i) => [name, unique ? bare[i] : name]));
}

/** The wrapper's part of a name, such as "_orig_mod.", or undefined. */
export function wrapperIn(name: string): string | undefined {
  return name.match(WRAPPER)?.[0];
}
