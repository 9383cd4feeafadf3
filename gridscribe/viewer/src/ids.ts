// Finding one id in lists that the service hands out in order, without walking them.

/**
 * What stands just before `id`: a list that is asked for `after` it begins with `id`, if that is there. Ids are made of letters,
 * digits, `_` and `-`, which all come before `~`.
 */
export function justBefore(id: string): string {
  const last = id.codePointAt(id.length - 1) ?? 1;
  return `${id.slice(0, -1)}${String.fromCodePoint(last - 1)}~`;
}
