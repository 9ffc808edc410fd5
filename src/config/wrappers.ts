/**
 * What wrappers put into the names of the module that they wrap: DataParallel, torch.compile, FSDP, activation checkpoints, Lightning's
 * Fabric, and peft around the model and around a layer.
 */
const WRAPPER =
  /(?:^|(?<=\.))(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module|base_model\.model|base_layer)\./g;

/**
 * Names without what wrappers put into them, at any place, of all tensors or of some.
 * @returns  the name of each stored one; all as they are where two would become one
 */
export function unwrappedNames(names: Iterable<string>): Map<string, string> {
  const all = [...names];
  const bare = all.map((name) => name.replace(WRAPPER, ""));
  return new Map(new Set(bare).size < all.length ? all.map((n) => [n, n]) : all.map((n, i) => [n, bare[i]]));
}

/** The wrapper in a name, as "_orig_mod."; undefined where there is none. */
export function wrapperIn(name: string): string | undefined {
  return name.match(WRAPPER)?.[0];
}
