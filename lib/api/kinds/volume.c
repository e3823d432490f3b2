/* Volumes: every source upstream knows by name; which of them a node can mount is the agent's business. */

#include "lib/api/kinds/tables.h"

/* clang-format off */

static const struct schema_field host_path_volume_source_fields[] = {
	STR("path", 1, REQ),
	STRP("type", 2, DFLT_STR(""),
	    ENUM("", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice")),
	END,
};
static SCHEMA(host_path_volume_source, "api.core.v1.HostPathVolumeSource");

static const struct schema_field empty_dir_volume_source_fields[] = {
	STR("medium", 1),
	QTY("sizeLimit", 2),
	END,
};
static SCHEMA(empty_dir_volume_source, "api.core.v1.EmptyDirVolumeSource");

static const struct schema_field gce_persistent_disk_volume_source_fields[] = {
	STR("pdName", 1, REQ),
	STR("fsType", 2),
	I32("partition", 3),
	BOOL("readOnly", 4),
	END,
};
static SCHEMA(gce_persistent_disk_volume_source, "api.core.v1.GCEPersistentDiskVolumeSource");

static const struct schema_field aws_elastic_block_store_volume_source_fields[] = {
	STR("volumeID", 1, REQ),
	STR("fsType", 2),
	I32("partition", 3),
	BOOL("readOnly", 4),
	END,
};
static SCHEMA(aws_elastic_block_store_volume_source, "api.core.v1.AWSElasticBlockStoreVolumeSource");

static const struct schema_field git_repo_volume_source_fields[] = {
	STR("repository", 1, REQ),
	STR("revision", 2),
	STR("directory", 3),
	END,
};
static SCHEMA(git_repo_volume_source, "api.core.v1.GitRepoVolumeSource");

static const struct schema_field secret_volume_source_fields[] = {
	STR("secretName", 1, REQ),
	LIST_OBJ("items", 2, &schema_key_to_path, ATOMIC),
	I32P("defaultMode", 3, DFLT("420"), BETWEEN(0, 0777)),
	BOOLP("optional", 4),
	END,
};
static SCHEMA(secret_volume_source, "api.core.v1.SecretVolumeSource");

static const struct schema_field nfs_volume_source_fields[] = {
	STR("server", 1, REQ),
	STR("path", 2, REQ),
	BOOL("readOnly", 3),
	END,
};
static SCHEMA(nfs_volume_source, "api.core.v1.NFSVolumeSource");

static const struct schema_field iscsi_volume_source_fields[] = {
	STR("targetPortal", 1, REQ),
	STR("iqn", 2, REQ),
	I32("lun", 3, KEEP_ZERO),
	STR("iscsiInterface", 4, DFLT_STR("default")),
	STR("fsType", 5),
	BOOL("readOnly", 6),
	LIST_STR("portals", 7, ATOMIC),
	BOOL("chapAuthDiscovery", 8),
	BOOL("chapAuthSession", 11),
	OBJ("secretRef", 10, &schema_local_object_reference),
	STRP("initiatorName", 12),
	END,
};
static SCHEMA(iscsi_volume_source, "api.core.v1.ISCSIVolumeSource");

static const struct schema_field glusterfs_volume_source_fields[] = {
	STR("endpoints", 1, REQ),
	STR("path", 2, REQ),
	BOOL("readOnly", 3),
	END,
};
static SCHEMA(glusterfs_volume_source, "api.core.v1.GlusterfsVolumeSource");

static const struct schema_field persistent_volume_claim_volume_source_fields[] = {
	STR("claimName", 1, REQ),
	BOOL("readOnly", 2),
	END,
};
static SCHEMA(persistent_volume_claim_volume_source, "api.core.v1.PersistentVolumeClaimVolumeSource");

static const struct schema_field rbd_volume_source_fields[] = {
	LIST_STR("monitors", 1, FLAGS(SCHEMA_REQUIRED | SCHEMA_ATOMIC)),
	STR("image", 2, REQ),
	STR("fsType", 3),
	STR("pool", 4, DFLT_STR("rbd")),
	STR("user", 5, DFLT_STR("admin")),
	STR("keyring", 6, DFLT_STR("/etc/ceph/keyring")),
	OBJ("secretRef", 7, &schema_local_object_reference),
	BOOL("readOnly", 8),
	END,
};
static SCHEMA(rbd_volume_source, "api.core.v1.RBDVolumeSource");

static const struct schema_field flex_volume_source_fields[] = {
	STR("driver", 1, REQ),
	STR("fsType", 2),
	OBJ("secretRef", 3, &schema_local_object_reference),
	BOOL("readOnly", 4),
	MAP_STR("options", 5),
	END,
};
static SCHEMA(flex_volume_source, "api.core.v1.FlexVolumeSource");

static const struct schema_field cinder_volume_source_fields[] = {
	STR("volumeID", 1, REQ),
	STR("fsType", 2),
	BOOL("readOnly", 3),
	OBJ("secretRef", 4, &schema_local_object_reference),
	END,
};
static SCHEMA(cinder_volume_source, "api.core.v1.CinderVolumeSource");

static const struct schema_field cephfs_volume_source_fields[] = {
	LIST_STR("monitors", 1, FLAGS(SCHEMA_REQUIRED | SCHEMA_ATOMIC)),
	STR("path", 2),
	STR("user", 3),
	STR("secretFile", 4),
	OBJ("secretRef", 5, &schema_local_object_reference),
	BOOL("readOnly", 6),
	END,
};
static SCHEMA(cephfs_volume_source, "api.core.v1.CephFSVolumeSource");

static const struct schema_field flocker_volume_source_fields[] = {
	STR("datasetName", 1),
	STR("datasetUUID", 2),
	END,
};
static SCHEMA(flocker_volume_source, "api.core.v1.FlockerVolumeSource");

static const struct schema_field downward_api_volume_file_fields[] = {
	STR("path", 1, REQ),
	OBJ("fieldRef", 2, &schema_object_field_selector),
	OBJ("resourceFieldRef", 3, &schema_resource_field_selector),
	I32P("mode", 4, BETWEEN(0, 0777)),
	END,
};
static SCHEMA(downward_api_volume_file, "api.core.v1.DownwardAPIVolumeFile");

static const struct schema_field downward_api_volume_source_fields[] = {
	LIST_OBJ("items", 1, &schema_downward_api_volume_file, ATOMIC),
	I32P("defaultMode", 2, DFLT("420"), BETWEEN(0, 0777)),
	END,
};
static SCHEMA(downward_api_volume_source, "api.core.v1.DownwardAPIVolumeSource");

static const struct schema_field fc_volume_source_fields[] = {
	LIST_STR("targetWWNs", 1, ATOMIC),
	I32P("lun", 2),
	STR("fsType", 3),
	BOOL("readOnly", 4),
	LIST_STR("wwids", 5, ATOMIC),
	END,
};
static SCHEMA(fc_volume_source, "api.core.v1.FCVolumeSource");

static const struct schema_field azure_file_volume_source_fields[] = {
	STR("secretName", 1, REQ),
	STR("shareName", 2, REQ),
	BOOL("readOnly", 3),
	END,
};
static SCHEMA(azure_file_volume_source, "api.core.v1.AzureFileVolumeSource");

static const struct schema_field config_map_volume_source_fields[] = {
	INLINE("localObjectReference", 1, &schema_local_object_reference),
	LIST_OBJ("items", 2, &schema_key_to_path, ATOMIC),
	I32P("defaultMode", 3, DFLT("420"), BETWEEN(0, 0777)),
	BOOLP("optional", 4),
	END,
};
static SCHEMA(config_map_volume_source, "api.core.v1.ConfigMapVolumeSource");

static const struct schema_field vsphere_virtual_disk_volume_source_fields[] = {
	STR("volumePath", 1, REQ),
	STR("fsType", 2),
	STR("storagePolicyName", 3),
	STR("storagePolicyID", 4),
	END,
};
static SCHEMA(vsphere_virtual_disk_volume_source, "api.core.v1.VsphereVirtualDiskVolumeSource");

static const struct schema_field quobyte_volume_source_fields[] = {
	STR("registry", 1, REQ),
	STR("volume", 2, REQ),
	BOOL("readOnly", 3),
	STR("user", 4),
	STR("group", 5),
	STR("tenant", 6),
	END,
};
static SCHEMA(quobyte_volume_source, "api.core.v1.QuobyteVolumeSource");

static const struct schema_field azure_disk_volume_source_fields[] = {
	STR("diskName", 1, REQ),
	STR("diskURI", 2, REQ),
	STRP("cachingMode", 3, DFLT_STR("ReadWrite"), ENUM("None", "ReadOnly", "ReadWrite")),
	STRP("fsType", 4, DFLT_STR("ext4")),
	BOOLP("readOnly", 5, DFLT("false")),
	STRP("kind", 6, DFLT_STR("Shared"), ENUM("Shared", "Dedicated", "Managed")),
	END,
};
static SCHEMA(azure_disk_volume_source, "api.core.v1.AzureDiskVolumeSource");

static const struct schema_field photon_persistent_disk_volume_source_fields[] = {
	STR("pdID", 1, REQ),
	STR("fsType", 2),
	END,
};
static SCHEMA(photon_persistent_disk_volume_source, "api.core.v1.PhotonPersistentDiskVolumeSource");

static const struct schema_field secret_projection_fields[] = {
	INLINE("localObjectReference", 1, &schema_local_object_reference),
	LIST_OBJ("items", 2, &schema_key_to_path, ATOMIC),
	BOOLP("optional", 4),
	END,
};
static SCHEMA(secret_projection, "api.core.v1.SecretProjection");

static const struct schema_field downward_api_projection_fields[] = {
	LIST_OBJ("items", 1, &schema_downward_api_volume_file, ATOMIC),
	END,
};
static SCHEMA(downward_api_projection, "api.core.v1.DownwardAPIProjection");

static const struct schema_field config_map_projection_fields[] = {
	INLINE("localObjectReference", 1, &schema_local_object_reference),
	LIST_OBJ("items", 2, &schema_key_to_path, ATOMIC),
	BOOLP("optional", 4),
	END,
};
static SCHEMA(config_map_projection, "api.core.v1.ConfigMapProjection");

static const struct schema_field cluster_trust_bundle_projection_fields[] = {
	STRP("name", 1),
	STRP("signerName", 2),
	OBJ("labelSelector", 3, &schema_label_selector),
	BOOLP("optional", 5),
	STR("path", 4, REQ),
	END,
};
static SCHEMA(cluster_trust_bundle_projection, "api.core.v1.ClusterTrustBundleProjection");

static const struct schema_field volume_projection_fields[] = {
	OBJ("secret", 1, &schema_secret_projection),
	OBJ("downwardAPI", 2, &schema_downward_api_projection),
	OBJ("configMap", 3, &schema_config_map_projection),
	OBJ("serviceAccountToken", 4, &schema_service_account_token_projection),
	OBJ("clusterTrustBundle", 5, &schema_cluster_trust_bundle_projection),
	END,
};
static SCHEMA(volume_projection, "api.core.v1.VolumeProjection");

static const struct schema_field projected_volume_source_fields[] = {
	LIST_OBJ("sources", 1, &schema_volume_projection, ATOMIC),
	I32P("defaultMode", 2, DFLT("420"), BETWEEN(0, 0777)),
	END,
};
static SCHEMA(projected_volume_source, "api.core.v1.ProjectedVolumeSource");

static const struct schema_field portworx_volume_source_fields[] = {
	STR("volumeID", 1),
	STR("fsType", 2),
	BOOL("readOnly", 3),
	END,
};
static SCHEMA(portworx_volume_source, "api.core.v1.PortworxVolumeSource");

static const struct schema_field scaleio_volume_source_fields[] = {
	STR("gateway", 1, REQ),
	STR("system", 2, REQ),
	OBJ("secretRef", 3, &schema_local_object_reference, REQ),
	BOOL("sslEnabled", 4),
	STR("protectionDomain", 5),
	STR("storagePool", 6),
	STR("storageMode", 7, DFLT_STR("ThinProvisioned")),
	STR("volumeName", 8),
	STR("fsType", 9, DFLT_STR("xfs")),
	BOOL("readOnly", 10),
	END,
};
static SCHEMA(scaleio_volume_source, "api.core.v1.ScaleIOVolumeSource");

static const struct schema_field storageos_volume_source_fields[] = {
	STR("volumeName", 1),
	STR("volumeNamespace", 2),
	STR("fsType", 3),
	BOOL("readOnly", 4),
	OBJ("secretRef", 5, &schema_local_object_reference),
	END,
};
static SCHEMA(storageos_volume_source, "api.core.v1.StorageOSVolumeSource");

static const struct schema_field csi_volume_source_fields[] = {
	STR("driver", 1, REQ),
	BOOLP("readOnly", 2),
	STRP("fsType", 3),
	MAP_STR("volumeAttributes", 4),
	OBJ("nodePublishSecretRef", 5, &schema_local_object_reference),
	END,
};
static SCHEMA(csi_volume_source, "api.core.v1.CSIVolumeSource");

static const struct schema_field volume_resource_requirements_fields[] = {
	MAP_QTY("limits", 1),
	MAP_QTY("requests", 2),
	END,
};
static SCHEMA(volume_resource_requirements, "api.core.v1.VolumeResourceRequirements");

static const struct schema_field persistent_volume_claim_spec_fields[] = {
	LIST_STR("accessModes", 1, FLAGS(SCHEMA_REQUIRED | SCHEMA_ATOMIC),
	    ENUM("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")),
	OBJ("selector", 4, &schema_label_selector),
	OBJ("resources", 2, &schema_volume_resource_requirements, REQ),
	STR("volumeName", 3),
	STRP("storageClassName", 5),
	STRP("volumeMode", 6, DFLT_STR("Filesystem"), ENUM("Block", "Filesystem")),
	OBJ("dataSource", 7, &schema_typed_local_object_reference),
	OBJ("dataSourceRef", 8, &schema_typed_object_reference),
	STRP("volumeAttributesClassName", 9),
	END,
};
static SCHEMA(persistent_volume_claim_spec, "api.core.v1.PersistentVolumeClaimSpec");

static const struct schema_field persistent_volume_claim_template_fields[] = {
	OBJ("metadata", 1, &schema_object_meta),
	OBJ("spec", 2, &schema_persistent_volume_claim_spec, REQ),
	END,
};
static SCHEMA(persistent_volume_claim_template, "api.core.v1.PersistentVolumeClaimTemplate");

static const struct schema_field ephemeral_volume_source_fields[] = {
	OBJ("volumeClaimTemplate", 1, &schema_persistent_volume_claim_template, REQ),
	END,
};
static SCHEMA(ephemeral_volume_source, "api.core.v1.EphemeralVolumeSource");

static const struct schema_field image_volume_source_fields[] = {
	STR("reference", 1),
	STR("pullPolicy", 2),
	END,
};
static SCHEMA(image_volume_source, "api.core.v1.ImageVolumeSource");

static const struct schema_field volume_source_fields[] = {
	OBJ("hostPath", 1, &schema_host_path_volume_source),
	OBJ("emptyDir", 2, &schema_empty_dir_volume_source),
	OBJ("gcePersistentDisk", 3, &schema_gce_persistent_disk_volume_source),
	OBJ("awsElasticBlockStore", 4, &schema_aws_elastic_block_store_volume_source),
	OBJ("gitRepo", 5, &schema_git_repo_volume_source),
	OBJ("secret", 6, &schema_secret_volume_source),
	OBJ("nfs", 7, &schema_nfs_volume_source),
	OBJ("iscsi", 8, &schema_iscsi_volume_source),
	OBJ("glusterfs", 9, &schema_glusterfs_volume_source),
	OBJ("persistentVolumeClaim", 10, &schema_persistent_volume_claim_volume_source),
	OBJ("rbd", 11, &schema_rbd_volume_source),
	OBJ("flexVolume", 12, &schema_flex_volume_source),
	OBJ("cinder", 13, &schema_cinder_volume_source),
	OBJ("cephfs", 14, &schema_cephfs_volume_source),
	OBJ("flocker", 15, &schema_flocker_volume_source),
	OBJ("downwardAPI", 16, &schema_downward_api_volume_source),
	OBJ("fc", 17, &schema_fc_volume_source),
	OBJ("azureFile", 18, &schema_azure_file_volume_source),
	OBJ("configMap", 19, &schema_config_map_volume_source),
	OBJ("vsphereVolume", 20, &schema_vsphere_virtual_disk_volume_source),
	OBJ("quobyte", 21, &schema_quobyte_volume_source),
	OBJ("azureDisk", 22, &schema_azure_disk_volume_source),
	OBJ("photonPersistentDisk", 23, &schema_photon_persistent_disk_volume_source),
	OBJ("projected", 26, &schema_projected_volume_source),
	OBJ("portworxVolume", 24, &schema_portworx_volume_source),
	OBJ("scaleIO", 25, &schema_scaleio_volume_source),
	OBJ("storageos", 27, &schema_storageos_volume_source),
	OBJ("csi", 28, &schema_csi_volume_source),
	OBJ("ephemeral", 29, &schema_ephemeral_volume_source),
	OBJ("image", 30, &schema_image_volume_source),
	END,
};
static SCHEMA(volume_source, "api.core.v1.VolumeSource");

static const struct schema_field volume_fields[] = {
	STR("name", 1, REQ, IS(DNS_LABEL)),
	INLINE("volumeSource", 2, &schema_volume_source),
	END,
};
SCHEMA(volume, "api.core.v1.Volume", .doc = "A directory that containers of the pod may mount.",
       .dflt = volume__default, .check = volume__check);
