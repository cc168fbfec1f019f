import { type Pass, wholePass } from './rewrite.js';

/**
 * Takes initializers out of the inputs of models before IR version 4, which had to list them there: they are constants, and
 * tools that take them for inputs do not fold them. The IR version becomes 4. In newer models an initializer among the inputs
 * is a default that the caller may override; it stays.
 */
export function initializersOutOfInputs(): Pass {
  return wholePass('initializers-out-of-inputs', ({ model }, report) => {
    const listed = [...model.graph.graphs()].flatMap((graph) =>
      graph.inputs.filter((input) => graph.initializers.has(input)),
    );
    if (model.irVersion >= 4) {
      for (const { name } of listed) {
        report.refused(
          `Initializer "${name}" is an input too: callers may override it, so it is not taken as constant.`,
        );
      }
      return;
    }
    for (const value of listed) {
      value.graph.removeInput(value);
      report.did(`Initializer "${value.name}" is no longer listed as an input.`);
    }
    // Also when none is listed: initializers that other passes make would have to be.
    report.did('The IR version became 4, in which initializers need not be inputs.');
    model.irVersion = 4;
  });
}
