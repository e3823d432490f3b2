/* The cluster's CA certificate as ConfigMap kube-root-ca.crt in every namespace: pods verify the API server with it. */
#include "controllers/perns.h"

struct controller *rootca_controller_new(struct controllers *all)
{
	return perns_new(all, &(struct perns_config){
				      .queue = "root_ca_cert_publisher",
				      .kind = "ConfigMap",
				      .name = "kube-root-ca.crt",
				      .member = "data",
				      .value = json_make("{s:s}", "ca.crt", all->ca_pem ? all->ca_pem : ""),
			      });
}
