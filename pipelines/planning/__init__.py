"""From a study's sections to their tasks; :func:`pipelines.plan.make_plan` puts them together."""
