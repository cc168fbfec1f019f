import {
  type Graph,
  type Model,
  type Node,
  type Transform,
  type TransformContext,
  type TransformResult,
  throwIfAborted,
} from '@pare/core';
import { type Knowledge, learn } from './knowledge.js';
import { Scope } from './scope.js';

/** What the passes of one round share. */
export interface PassContext extends TransformContext {
  /** Learnt once a round: a rewrite changes how a value is computed, never what it is. */
  readonly knowledge?: Knowledge | undefined;
}

export interface PassResult extends TransformResult {
  /** Near-matches, and why they were left alone. */
  readonly refusals: readonly string[];
}

/** One step of `simplify`, a transform of its own. */
export interface Pass extends Transform {
  apply(model: Model, context: PassContext): PassResult | Promise<PassResult>;
}

/** Why a rule left a place alone that looked like its own. */
export class Refusal {
  constructor(readonly reason: string) {}
}

/**
 * Rewrites the place around one node: the last node of the pattern that it knows, so that all others are before it. Answers
 * with a sentence that says what it did, a Refusal, or nothing when the place is none of its own.
 */
export type Rule = (node: Node, scope: Scope) => string | Refusal | undefined;

/** Rules by operator: `Conv`, `com.microsoft.Gelu`. */
export type RuleTable = Readonly<Record<string, Rule | readonly Rule[]>>;

/**
 * A pass that offers every node of every graph to the rules for its operator, in order. `prepare` comes first, for what
 * rules cannot wait for: reading weights.
 */
export function rewritePass(
  name: string,
  rules: RuleTable,
  prepare: (model: Model) => void | Promise<void> = () => {},
): Pass {
  return {
    name,
    async apply(model, context) {
      await prepare(model);
      const scope = new Scope(model, context.knowledge ?? learn(model));
      const notes: string[] = [];
      const refusals: string[] = [];
      for (const graph of [...model.graph.graphs()]) {
        throwIfAborted(context.signal);
        if (!isAttached(graph)) continue;
        for (const node of graph.nodes()) {
          const key = node.domain ? `${node.domain}.${node.opType}` : node.opType;
          const rule = Object.hasOwn(rules, key) ? rules[key] : undefined;
          if (!rule) continue;
          for (const each of typeof rule === 'function' ? [rule] : rule) {
            const outcome = each(node, scope);
            if (typeof outcome === 'string') notes.push(outcome);
            else if (outcome) refusals.push(outcome.reason);
            if (node.graph !== graph) break;
          }
        }
      }
      return { changed: notes.length, notes, refusals };
    },
  };
}

/** Whether `graph` is still part of its model: the nodes around it are in their graphs. */
export function isAttached(graph: Graph): boolean {
  for (let at: Graph = graph; at.parent; at = at.parent.graph) if (!at.parent.graph) return false;
  return true;
}

/** A pass that looks at the model as a whole. */
export function wholePass(
  name: string,
  apply: (scope: Scope, report: Report, context: PassContext) => void | Promise<void>,
): Pass {
  return {
    name,
    async apply(model, context) {
      const report = new Report();
      await apply(new Scope(model, context.knowledge ?? learn(model)), report, context);
      return report;
    },
  };
}

/** Collects what a pass did. */
export class Report implements PassResult {
  readonly notes: string[] = [];
  readonly refusals: string[] = [];

  get changed(): number {
    return this.notes.length;
  }

  did(note: string): void {
    this.notes.push(note);
  }

  refused(reason: string): void {
    this.refusals.push(reason);
  }
}
