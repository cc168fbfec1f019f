import type { Field, Table } from './schema.js';
import type { Reference } from './source.js';

/** A message (or unknown group) that is being read. */
export interface Frame {
  readonly message: Record<string, unknown>;
  readonly table: Table;
  readonly parent: Frame | undefined;
  /** Field of the parent that holds the message; undefined for the root. */
  readonly field: Field | undefined;
  readonly start: number;
  readonly end: number;
  /** Number of the unknown group that this is; 0 for a message. */
  readonly group: number;
  /** Further part of a message that stood in the file before: its fields add to those. */
  readonly merged: boolean;
  readonly depth: number;
  /** Number of the known field read last. */
  last: number;
  /** Writing the message anew gives the same bytes. */
  canonical: boolean;
  unknown: Reference[] | undefined;
}

/** The frame of a message that begins. */
export function frameOf(
  message: object,
  table: Table,
  parent: Frame | undefined,
  field: Field | undefined,
  start: number,
  end: number,
  group: number,
  merged: boolean,
): Frame {
  const depth = parent ? parent.depth + 1 : 0;
  const fields = message as Record<string, unknown>;
  return {
    message: fields,
    table,
    parent,
    field,
    start,
    end,
    group,
    merged,
    depth,
    last: 0,
    canonical: true,
    unknown: undefined,
  };
}

/** The list in `field`, begun when there is none. */
export function listOf(frame: Frame, field: Field): unknown[] {
  const list = frame.message[field.name] as unknown[] | undefined;
  if (list) return list;
  const made: unknown[] = [];
  frame.message[field.name] = made;
  return made;
}

/** Adds `element` to the list in `field`. Most lists have one: begun with it, they take no room for more. */
export function append(frame: Frame, field: Field, element: unknown): void {
  const list = frame.message[field.name] as unknown[] | undefined;
  if (list) list.push(element);
  else frame.message[field.name] = [element];
}

/** Adds an unknown stretch, to the one before where they touch. */
export function keepUnknown(frame: Frame, stretch: Reference): void {
  if (frame.group > 0) return;
  frame.unknown ??= [];
  const last = frame.unknown[frame.unknown.length - 1];
  if (last && last.offset + last.length === stretch.offset) {
    frame.unknown[frame.unknown.length - 1] = { ...last, length: last.length + stretch.length };
  } else frame.unknown.push(stretch);
}

/** `graph.node[3].attribute[0]`, as onnx.proto spells it. */
export function pathOf(frame: Frame): string {
  const steps: string[] = [];
  for (let f: Frame = frame; f.parent; f = f.parent) {
    if (!f.field) steps.unshift(`group ${f.group}`);
    else {
      const list = f.field.repeated ? (f.parent.message[f.field.name] as unknown[]) : undefined;
      steps.unshift(list ? `${f.field.name}[${list.length - 1}]` : f.field.name);
    }
  }
  return steps.length > 0 ? steps.join('.') : 'it';
}
