"""Rules and anomalies beside the pipeline."""
